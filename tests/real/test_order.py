"""The policy decides in which order an engine with one free slot sees the waiting requests."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.real.client import ask, completion, opened, until
from tests.real.engines import MAX_RUNNING, Engine
from tests.real.proxy import Proxy, serving
from tests.real.tiny_llama import words

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

PAIRS = 4
PREFIX = 600
LONG = 2500
"""Answer tokens of those that keep the engine busy: two fit its pool, and take seconds."""


async def served(proxy: Proxy, name: str) -> list[str]:
    """Cold and warm prompts in turn behind a busy engine; the order in which they are answered."""
    await ask(proxy.url, "/v1/completions", completion(words(name, PREFIX), 2))
    order: list[str] = []
    async with AsyncExitStack() as others:
        for i in range(MAX_RUNNING - 1):
            await occupy(proxy, f"{name} other {i}", others)
        async with AsyncExitStack() as last:
            await occupy(proxy, f"{name} last", last)
            clients = []
            for i in range(PAIRS):
                for label, prompt in (
                    ("cold", words(f"{name} cold {i}", PREFIX)),
                    ("warm", f"{words(name, PREFIX)} {i}"),
                ):
                    clients.append(asyncio.create_task(client(proxy, label, prompt, order)))
                    await arrived(proxy, MAX_RUNNING + len(clients))
        await asyncio.gather(*clients)
    return order


async def occupy(proxy: Proxy, name: str, stack: AsyncExitStack) -> None:
    """Take a running slot until `stack` is closed."""
    body = completion(words(name, 20), LONG, stream=True)
    response = await stack.enter_async_context(opened(proxy.url, body))
    await response.content.readany()


async def client(proxy: Proxy, label: str, prompt: str, order: list[str]) -> None:
    """Ask, and write down when the answer was there."""
    await ask(proxy.url, "/v1/completions", completion(prompt, 2, stream=True))
    order.append(label)


async def arrived(proxy: Proxy, count: int) -> None:
    """Return when the proxy has that many requests, waiting and in flight."""
    await until(
        f"{count} requests",
        proxy.state,
        lambda state: state["waiting"] + state["in_flight"] == count,
        10,
    )


async def test_fcfs_keeps_the_order_of_arrival(engine: Engine, tmp_path: Path) -> None:
    """Under fcfs cold and warm prompts alternate as they came."""
    async with serving([engine], tmp_path, "fcfs", MAX_RUNNING) as proxy:
        assert await served(proxy, "fcfs") == ["cold", "warm"] * PAIRS


async def test_lpm_sends_cached_prompts_first(engine: Engine, tmp_path: Path) -> None:
    """Under lpm all warm prompts go first, but for what was in the engine's queue already."""
    # The bound on waiting is put out of reach, so that the order shows however slow the machine.
    async with serving([engine], tmp_path, "lpm", MAX_RUNNING, max_wait_factor=1e6) as proxy:
        order = await served(proxy, "lpm")
    assert order[1 : PAIRS + 1] == ["warm"] * PAIRS
