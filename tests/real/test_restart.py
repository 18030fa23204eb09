"""An engine that is killed takes its own requests with it and nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.real.client import Reply, ask, completion, opened, until
from tests.real.engines import MAX_RUNNING, Engine
from tests.real.proxy import Proxy, all_up, idle, serving
from tests.real.tiny_llama import words

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

NOTICED_SECONDS = 15.0
WARM = completion(words("warm before the crash", 1000), 4)


async def ended(url: str, body: dict[str, Any], first: asyncio.Event) -> str:
    """How a stream ends: `complete`, or as an error of one kind or another."""
    try:
        async with opened(url, body) as response:
            text = ""
            async for data in response.content.iter_any():
                first.set()
                text += data.decode(errors="replace")
    except aiohttp.ClientError:
        return "connection lost"
    if response.status != 200:
        return f"status {response.status}"
    return "complete" if text.rstrip().endswith("[DONE]") and '"error"' not in text else "error"


async def crash(engine: Engine, proxy: Proxy) -> None:
    """Kill the engine under running and waiting requests; all of them end, none well."""
    first = asyncio.Event()
    bodies = [
        completion(words(f"crash {i}", 50), 1200, stream=True) for i in range(4 * MAX_RUNNING)
    ]
    clients = [asyncio.create_task(ended(proxy.url, body, first)) for body in bodies]
    await first.wait()
    await until(
        "all arrived",
        proxy.state,
        lambda state: state["waiting"] + state["in_flight"] == len(bodies),
        NOTICED_SECONDS,
    )
    await asyncio.to_thread(engine.kill)
    await until("it is seen as down", proxy.state, lambda s: not all_up(s), NOTICED_SECONDS)
    # Those that ran end now; those that waited may wait on for the engine to come back.
    await until("nothing is in flight", proxy.state, lambda s: s["in_flight"] == 0, NOTICED_SECONDS)
    for client in clients:
        if not client.done():
            client.cancel()
    ends = await asyncio.gather(*clients, return_exceptions=True)
    assert "complete" not in ends
    assert any(isinstance(end, str) for end in ends)
    await until("the books are even", proxy.state, idle, NOTICED_SECONDS)


async def test_killed_and_started_again(engine: Engine, tmp_path: Path) -> None:
    """Clients get errors, counters return to zero, and a restarted engine starts from nothing."""
    async with serving([engine], tmp_path) as proxy:
        await ask(proxy.url, "/v1/completions", WARM)
        assert predicted(await ask(proxy.url, "/v1/completions", WARM)) > 500
        await crash(engine, proxy)
        await asyncio.to_thread(engine.start)
        await asyncio.to_thread(engine.wait_ready)
        state = await until("it is up again", proxy.state, all_up, NOTICED_SECONDS)
        assert state["backends"][0]["recent_requests"] == 0
        reply = await ask(proxy.url, "/v1/completions", WARM)
        assert reply.status == 200
        assert predicted(reply) == 0


def predicted(reply: Reply) -> int:
    """The tokens that the proxy believed to be cached."""
    return int(reply.headers["x-paceline-cached-tokens"])
