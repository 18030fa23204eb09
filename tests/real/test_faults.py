"""Real engines that hang, die and come back, and clients that leave: who sees what, what is left.

Each test has both engines behind the proxy, so that there is somewhere else to go; what it saw is
printed as a row of docs/reliability.md (`pytest -s`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.real.client import ask, completion, opened, until
from tests.real.conftest import Engines
from tests.real.engines import Engine
from tests.real.proxy import Proxy, all_up, idle, serving
from tests.real.tiny_llama import words

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

LONG = 2500
"""Answer tokens: seconds of decode on any CPU."""
NOTICED_SECONDS = 15.0
LEFT_SECONDS = 6.0
"""SGLang looks only every 4 s whether the client of an unstreamed answer is still there."""


@dataclass
class Seen:
    """What one client saw."""

    status: int = 0
    """0: it was gone before there was one."""
    backend: str = ""
    error: bool = False
    """An error frame came."""
    whole: bool = False
    """The answer had its end."""
    seconds: float = 0.0

    def __str__(self) -> str:
        end = "" if self.whole else " cut"
        return f"{self.status}{end}{' + error frame' if self.error else ''} {self.seconds:.1f} s"


async def client(url: str, body: dict[str, Any], first: asyncio.Event) -> Seen:
    """Read an answer as far as it comes; sets `first` when it begins."""
    seen, text, began = Seen(), "", time.monotonic()
    try:
        async with opened(url, body) as response:
            seen.status = response.status
            seen.backend = response.headers.get("x-paceline-backend", "")
            async for data in response.content.iter_any():
                first.set()
                text += data.decode(errors="replace")
        seen.whole = not body.get("stream") or text.rstrip().endswith("[DONE]")
    except aiohttp.ClientError:
        pass
    seen.error = '"error"' in text and seen.status == 200
    seen.seconds = time.monotonic() - began
    return seen


@dataclass
class Pair:
    """A streamed and an unstreamed request under way on one engine."""

    stream: asyncio.Task[Seen]
    plain: asyncio.Task[Seen]

    async def ends(self) -> tuple[Seen, Seen]:
        """What both saw in the end."""
        return await self.stream, await self.plain


async def warm(proxy: Proxy, engine: Engine, label: str) -> str:
    """A prompt that was answered by this engine, so that it is placed there again."""
    for number in range(5):
        prompts = [words(f"{label} {engine.kind} {number} {i}", 600) for i in range(4)]
        # At once, or all would go to the faster engine.
        replies = await asyncio.gather(
            *(ask(proxy.url, "/v1/completions", completion(prompt, 8)) for prompt in prompts)
        )
        for prompt, reply in zip(prompts, replies, strict=True):
            assert reply.status == 200
            if reply.headers["x-paceline-backend"] == engine.kind:
                return prompt
    raise AssertionError(f"no prompt went to {engine.kind}")


async def under_way(proxy: Proxy, engine: Engine, label: str, tokens: int = LONG) -> Pair:
    """Both run on the engine; of the one a byte came, of the other none can."""
    prompt, first = await warm(proxy, engine, label), asyncio.Event()
    body = completion(prompt, tokens, stream=True)
    stream = asyncio.create_task(client(proxy.url, body, first))
    await first.wait()
    plain = asyncio.create_task(client(proxy.url, completion(prompt, 64), asyncio.Event()))
    await until("both run there", proxy.state, lambda s: of(s, engine)["in_flight"] == 2, 10)
    return Pair(stream, plain)


def of(state: dict[str, Any], engine: Engine) -> dict[str, Any]:
    """One backend's part of the state."""
    found: dict[str, Any] = next(b for b in state["backends"] if b["id"] == engine.kind)
    return found


def even(state: dict[str, Any]) -> bool:
    """Whether nothing waits or runs, and no engine's room or time is spoken for."""
    spent = [
        b["unstarted"] or b["prefill_tokens"] or b["kv_room"] != b["kv_tokens"]
        for b in state["backends"]
        if b["up"]
    ]
    return idle(state) and not state["waiting_tokens"] and not any(spent)


async def counted(proxy: Proxy, name: str) -> float:
    """The sum of a metric over its labels."""
    page = (await ask(proxy.url, "/metrics")).body.decode()
    families = text_string_to_metric_families(page)
    return sum(one.value for family in families for one in family.samples if one.name == name)


async def settled(proxy: Proxy) -> None:
    """Both engines are up and the books are even, in the state and in the metrics."""
    await until("all are up", proxy.state, all_up, NOTICED_SECONDS)
    await until("the books are even", proxy.state, even, NOTICED_SECONDS)
    for name in ("waiting_requests", "backend_in_flight_requests", "backend_prefill_tokens"):
        assert await counted(proxy, f"paceline_{name}") == 0


@asynccontextmanager
async def both(engines: Engines, folder: Path) -> AsyncIterator[Proxy]:
    """A proxy before both engines; when the block ends nothing may be left behind."""
    async with serving(list(engines.values()), folder) as proxy:
        yield proxy
        await settled(proxy)


async def test_clients_that_leave(engines: Engines, engine: Engine, tmp_path: Path) -> None:
    """At once, before the head, and in mid-stream: the engine is free again, nothing is left."""
    async with both(engines, tmp_path) as proxy:
        pair = await under_way(proxy, engine, "leaving")
        at_once = asyncio.create_task(ask(proxy.url, "/v1/completions", completion("a b", LONG)))
        await asyncio.sleep(0)
        for one in (at_once, pair.stream, pair.plain):
            one.cancel()
        await until("it is free", engine.counters, lambda c: c.running == 0, LEFT_SECONDS)
        assert await counted(proxy, "paceline_retries_total") == 0


async def test_hangs_and_goes_on(engines: Engines, engine: Engine, tmp_path: Path) -> None:
    """Of which no byte came is answered by the other engine, a stream waits for this one."""
    async with both(engines, tmp_path) as proxy:
        pair = await under_way(proxy, engine, "hanging", 800)
        with engine.paused():
            plain = await asyncio.wait_for(pair.plain, 60)
            assert (plain.status, plain.whole) == (200, True)
            assert plain.backend not in ("", engine.kind)
            assert await counted(proxy, "paceline_retries_total") == 1
            meanwhile = await ask(proxy.url, "/v1/completions", completion("meanwhile", 4))
            assert meanwhile.headers["x-paceline-backend"] != engine.kind
            assert not pair.stream.done()
        stream = await asyncio.wait_for(pair.stream, 60)
        print(f"| {engine.kind} hangs and goes on | {stream} | {plain} |")
        assert (stream.status, stream.error, stream.whole) == (200, False, True)
        await settled(proxy)
        await warm(proxy, engine, "again")


async def test_killed_and_started_again(engines: Engines, engine: Engine, tmp_path: Path) -> None:
    """A stream is cut and says why, the rest is served; a restarted engine starts from nothing."""
    async with both(engines, tmp_path) as proxy:
        pair = await under_way(proxy, engine, "killed")
        async with dead(engine):
            stream, plain = await asyncio.wait_for(pair.ends(), 60)
            print(f"| {engine.kind} killed | {stream} | {plain} |")
            assert (stream.status, stream.error, stream.whole) == (200, True, False)
            # The kept connection broke, so it was asked again: at the other, or on one that died.
            assert (plain.status, plain.whole) in ((200, True), (502, True))
            assert await counted(proxy, "paceline_retries_total") == 1
            after = await ask(proxy.url, "/v1/completions", completion("after", 4))
            assert (after.status, after.headers["x-paceline-backend"] != engine.kind) == (200, True)
            await until("it is down", proxy.state, lambda s: not of(s, engine)["up"], 30)
            await until("the books are even", proxy.state, even, NOTICED_SECONDS)
        state = await until("it is up again", proxy.state, all_up, NOTICED_SECONDS)
        assert of(state, engine)["recent_requests"] == 0
        await warm(proxy, engine, "trusted again")


@asynccontextmanager
async def dead(engine: Engine) -> AsyncIterator[None]:
    """Inside the block it is killed; behind it, it is back at the same port."""
    await asyncio.to_thread(engine.kill)
    try:
        yield
    finally:
        await asyncio.to_thread(engine.start)
        await asyncio.to_thread(engine.wait_ready)
