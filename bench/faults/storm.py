"""Many requests, random faults, clients that leave, engines that die: what must still hold."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from msgspec import Struct

from bench.faults import catalogue
from bench.faults.cases import body
from bench.faults.client import Leave, Seen, ask
from bench.faults.engine import FaultyEngine
from bench.faults.rig import Rig, rigged
from bench.faults.wire import Fault, Sound
from paceline.proxy.config import UpstreamConfig

AT_ONCE = 64
ENGINES = 3
FAULTY = 0.25
LEAVING = 0.15
"""Shares of generations and of clients."""
DISASTERS = 0.002
"""Share of requests with which an engine is killed and started again, or stops for a moment."""
UPSTREAM = UpstreamConfig(probe_seconds=0.2, idle_seconds=1.0, first_byte_seconds=1.0)

FAULTS: tuple[type[Fault], ...] = (
    catalogue.KilledBeforeHead,
    catalogue.ClosesUnanswered,
    catalogue.KilledAfterHead,
    catalogue.KilledMidStream,
    catalogue.StopsMidStream,
    catalogue.Hangs,
    catalogue.Trickles,
    catalogue.Garbage,
    catalogue.GarbageInChunks,
    catalogue.ClosesKeptConnections,
    catalogue.DropsReused,
    catalogue.LongContentLength,
    catalogue.ShortContentLength,
    catalogue.SlowToRead,
)
STATUSES = ("500 Internal Server Error", "502 Bad Gateway", "503 Unavailable", "429 Too Many")


class Outcome(Struct, frozen=True):
    """What came of it all."""

    words: Counter[str]
    retried: int
    disasters: int
    broken: list[str]
    """Promises that did not hold, in words."""


async def storm(requests: int, seed: int = 7, leaving: float = LEAVING) -> Outcome:
    """Send so many, of which that share leaves; the random numbers are the seed's, the timing is
    not."""
    rng = random.Random(seed)
    async with rigged(ENGINES, UPSTREAM) as rig:
        for engine in rig.engines:
            engine.next_fault = lambda: random_fault(rng, FAULTY)
        gate = asyncio.Semaphore(AT_ONCE)
        disasters: list[asyncio.Task[None]] = []

        async def one(number: int) -> Seen:
            async with gate:
                if rng.random() < DISASTERS and all(task.done() for task in disasters):
                    victim = rng.choice(rig.engines)
                    disasters.append(asyncio.create_task(_disaster(victim, rng.random() < 0.5)))
                leave = rng.choice(list(Leave)[1:]) if rng.random() < leaving else Leave.NEVER
                return await ask(rig.port, body(number, rng.random() < 0.6), f"r{number}", leave)

        seen = await asyncio.gather(*map(one, range(requests)))
        await asyncio.gather(*disasters)
        return Outcome(
            words=Counter(each.word for each in seen),
            retried=sum(record.attempts > 1 for record in rig.records),
            disasters=len(disasters),
            broken=await _broken(rig, seen),
        )


def random_fault(rng: random.Random, share: float) -> Fault:
    """A fault for that share of the generations."""
    if rng.random() >= share:
        return Sound()
    if rng.random() < 0.25:
        return catalogue.Refuses(rng.choice(STATUSES))
    return rng.choice(FAULTS)()


async def _disaster(engine: FaultyEngine, dies: bool) -> None:
    if dies:
        await engine.restart()
        return
    engine.thawed.clear()
    await asyncio.sleep(1.5)
    engine.thawed.set()


async def _broken(rig: Rig, seen: list[Seen]) -> list[str]:
    """Every request ends exactly once, none is generated twice, nothing is left behind."""
    found = await rig.leftovers(len(seen), sum(each.left for each in seen))
    for number, each in enumerate(seen):
        if not each.left and each.status == 0:
            found.append(f"r{number} got no answer")
        if each.done > 1 or each.errors > 1 or (each.errors and (each.done or each.whole)):
            found.append(f"r{number} got {each.done} [DONE], {each.errors} errors")
    answered = sum((engine.answered for engine in rig.engines), Counter[bytes]())
    del answered[b""]  # the proxy's own, by which it finds out whether an engine works again
    found += [f"{id.decode()} was generated {n} times" for id, n in answered.items() if n > 1]
    return found
