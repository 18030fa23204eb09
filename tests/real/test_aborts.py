"""A client that goes away costs nothing any more, wherever its request is at that moment."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.real.client import completion, opened, until
from tests.real.engines import MAX_RUNNING, Counters, Engine
from tests.real.proxy import Proxy, idle, serving
from tests.real.tiny_llama import words

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

LONG = 3600
"""Answer tokens: several seconds of decode on any CPU."""
FREED_SECONDS = 1.0
POLL_SECONDS = 6.0
"""SGLang looks only every 4 s whether the client of an unstreamed answer is still there."""


def runs(count: int) -> Any:
    """Says whether the engine runs that many requests."""
    return lambda counters: counters.running == count


async def leave(engine: Engine, proxy: Proxy, client: asyncio.Task[Any], seconds: float) -> None:
    """Close the client's connection; the slot must be free `seconds` later, the books be even."""
    before = await engine.counters()
    client.cancel()
    after = await until("the running slot is free", engine.counters, runs(0), seconds)
    assert after.output_tokens - before.output_tokens < LONG / 2, "it ran to its end"
    assert idle(await proxy.state())


async def read(url: str, body: dict[str, Any], first: asyncio.Event) -> None:
    """A client that reads its answer to the end; sets `first` when it begins."""
    async with opened(url, body) as response:
        async for _ in response.content.iter_any():
            first.set()


async def test_before_the_first_byte(engine: Engine, tmp_path: Path) -> None:
    """An engine that has answered nothing yet stops computing."""
    limit = FREED_SECONDS if engine.kind == "vllm" else POLL_SECONDS
    async with serving([engine], tmp_path) as proxy:
        first = asyncio.Event()
        body = completion(words("unstreamed", 100), LONG)
        client = asyncio.create_task(read(proxy.url, body, first))
        await until("it runs", engine.counters, runs(1), 60)
        assert not first.is_set()
        await leave(engine, proxy, client, limit)


async def test_mid_stream(engine: Engine, tmp_path: Path) -> None:
    """An engine in the middle of a stream stops computing."""
    async with serving([engine], tmp_path) as proxy:
        first = asyncio.Event()
        body = completion(words("streamed", 100), LONG, stream=True)
        client = asyncio.create_task(read(proxy.url, body, first))
        await first.wait()
        await until("it runs", engine.counters, runs(1), 60)
        await leave(engine, proxy, client, FREED_SECONDS)


async def test_while_queued(engine: Engine, tmp_path: Path) -> None:
    """A request that waits in the proxy leaves it, and the engine never sees it."""
    async with (
        serving([engine], tmp_path, max_running=MAX_RUNNING) as proxy,
        AsyncExitStack() as others,
    ):
        before = await engine.counters()
        await fill(proxy, others)
        body = completion(words("queued", 777), 8, stream=True)
        clients = [asyncio.create_task(read(proxy.url, body, asyncio.Event())) for _ in range(3)]
        await until("three wait", proxy.state, lambda state: state["waiting"] == 3, 10)
        for client in clients:
            client.cancel()
        await until("none waits", proxy.state, lambda state: state["waiting"] == 0, FREED_SECONDS)
        await others.aclose()
        after = await until("all slots are free", engine.counters, free, 10)
        assert after.prompt_tokens - before.prompt_tokens < 777
        assert idle(await proxy.state())


async def fill(proxy: Proxy, others: AsyncExitStack) -> None:
    """Take every running slot, and one place in the engine's own queue."""
    for i in range(MAX_RUNNING):
        body = completion(words(f"other {i}", 20), 2500, stream=True)
        response = await others.enter_async_context(opened(proxy.url, body))
        await response.content.readany()
    body = completion(words("in the engine's queue", 20), 8, stream=True)
    last = asyncio.create_task(read(proxy.url, body, asyncio.Event()))
    others.callback(last.cancel)
    await until(
        "the last is sent", proxy.state, lambda state: state["in_flight"] == MAX_RUNNING + 1, 10
    )


def free(counters: Counters) -> bool:
    """Whether the engine has nothing to do."""
    return counters.running == 0 and counters.waiting == 0
