"""Every way to fail, played on one of two engines; what clients, engines and counters show."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import msgspec
from msgspec import Struct

from bench.faults import catalogue
from bench.faults.client import Leave, Seen, ask
from bench.faults.engine import FaultyEngine
from bench.faults.rig import Rig, rigged
from bench.faults.wire import Fault, Sound
from paceline.proxy.config import UpstreamConfig

REQUESTS = 20
AT_ONCE = 4

Action = Callable[[FaultyEngine], Awaitable[None]]


class Case(Struct, frozen=True):
    """One row of the matrix."""

    name: str
    fault: Callable[[], Fault] = Sound
    action: Action | None = None
    """Done to the engine as a whole, when requests are under way."""
    leave: Leave = Leave.NEVER
    upstream: UpstreamConfig | None = None


class Row(Struct, frozen=True):
    """What happened."""

    name: str
    streams: Counter[str]
    whole: Counter[str]
    asked: int
    """Generations that engines were asked for, by requests and by the proxy's own checks."""
    retried: int
    slowest: float
    leftovers: list[str]
    seen: list[Seen]


async def _kill(engine: FaultyEngine) -> None:
    await engine.kill()


async def _hang(engine: FaultyEngine) -> None:
    engine.thawed.clear()


async def _restart(engine: FaultyEngine) -> None:
    await engine.restart()


async def _hang_for_a_while(engine: FaultyEngine) -> None:
    engine.thawed.clear()
    asyncio.get_running_loop().call_later(2.0, engine.thawed.set)


async def _half_open(engine: FaultyEngine) -> None:
    """Connections that were made stay open and are dead; nobody takes new ones."""
    engine.thawed.clear()
    engine.stop_listening()


async def _jump(engine: FaultyEngine) -> None:
    """The wall clock is set back by a day; it is set right when the loop has nothing to do."""
    right, yesterday = time.time, time.time() - 86_400.0
    time.time = lambda: yesterday
    asyncio.get_running_loop().call_later(0.3, setattr, time, "time", right)


QUICK = UpstreamConfig(probe_seconds=0.5, idle_seconds=0.5, first_byte_seconds=0.5)

CASES = (
    Case("none"),
    Case("engine killed before the head", catalogue.KilledBeforeHead),
    Case("closes unanswered", catalogue.ClosesUnanswered),
    Case("engine killed after the head", catalogue.KilledAfterHead),
    Case("engine killed mid-stream (reset)", catalogue.KilledMidStream),
    Case("connection closed mid-stream", lambda: catalogue.KilledMidStream(reset=False)),
    Case("stops mid-stream", catalogue.StopsMidStream, upstream=QUICK),
    Case("generations hang, engine lives", catalogue.Hangs, upstream=QUICK),
    Case("trickles", catalogue.Trickles),
    Case("answers garbage", catalogue.Garbage),
    Case("garbage inside the stream", catalogue.GarbageInChunks),
    Case("closes kept connections", catalogue.ClosesKeptConnections),
    Case("drops reused connections", catalogue.DropsReused),
    Case("Content-Length too long", catalogue.LongContentLength),
    Case("Content-Length too short", catalogue.ShortContentLength),
    Case("500", lambda: catalogue.Refuses("500 Internal Server Error")),
    Case("502", lambda: catalogue.Refuses("502 Bad Gateway")),
    Case("503", lambda: catalogue.Refuses("503 Service Unavailable", "Retry-After: 7")),
    Case("429", lambda: catalogue.Refuses("429 Too Many Requests", "Retry-After: 7")),
    Case("400", lambda: catalogue.Refuses("400 Bad Request")),
    Case("slow to accept: 1.5 s", catalogue.SlowToRead),
    Case("process killed", action=_kill),
    Case("process restarted, cache lost", action=_restart),
    Case("process hangs (accepts, never answers)", action=_hang),
    Case("process hangs for 2 s", action=_hang_for_a_while),
    Case("half-open: connected and dead, port closed", action=_half_open),
    Case("wall clock jumps back a day", action=_jump),
    Case("client leaves while uploading", leave=Leave.MID_UPLOAD),
    Case("client leaves at once", leave=Leave.AT_ONCE),
    Case("client leaves before the head", catalogue.SlowToRead, leave=Leave.BEFORE_HEAD),
    Case("client leaves after the head", leave=Leave.AFTER_HEAD),
    Case("client leaves mid-stream", leave=Leave.MID_STREAM),
)


async def play(case: Case, requests: int = REQUESTS) -> Row:
    """Half of the requests streams, half in one piece, on a fresh proxy."""
    async with rigged(upstream=case.upstream) as rig:
        faulty = rig.engines[0]
        faulty.next_fault = case.fault
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> Seen:
            async with gate:
                if case.action is not None and number == AT_ONCE:
                    await case.action(faulty)
                return await ask(rig.port, body(number), f"r{number}", case.leave)

        seen = await asyncio.gather(*map(one, range(requests)))
        leftovers = await rig.leftovers(requests, sum(one.left for one in seen))
        return _row(case, rig, seen, leftovers)


def body(number: int, stream: bool | None = None) -> bytes:
    """A completion: even numbers stream; eight share a prefix."""
    return msgspec.json.encode(
        {
            "model": "emulated",
            "prompt": f"family {number // 8} " * 60 + f"member {number}",
            "max_tokens": 8,
            "stream": number % 2 == 0 if stream is None else stream,
        }
    )


def _row(case: Case, rig: Rig, seen: list[Seen], leftovers: list[str]) -> Row:
    return Row(
        name=case.name,
        streams=Counter(one.word for one in seen[::2]),
        whole=Counter(one.word for one in seen[1::2]),
        asked=sum(engine.asked for engine in rig.engines),
        retried=sum(record.attempts > 1 for record in rig.records),
        slowest=max(one.seconds for one in seen),
        leftovers=leftovers,
        seen=seen,
    )
