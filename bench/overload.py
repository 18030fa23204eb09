"""`python -m bench.overload`: three times the load that emulated engines can carry.

What they can carry is measured first, by as many clients as keep them full. Then requests come at
three times that rate, whoever is refused is gone, and what is answered must be as much as before.
Sockets are real and time is not: the clock jumps to the next timer, however busy the machine is.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections import Counter

import msgspec
from msgspec import Struct

from bench.faults.client import Seen, ask
from bench.faults.rig import Rig, rigged
from paceline.engines.emulator.config import EmulatorConfig
from paceline.scheduler.config import SchedulerConfig
from tests.virtual_loop import run

ENGINE = EmulatorConfig(kind="sglang", speed=1.0, max_running=8, kv_tokens=200_000)
"""Eight requests at once, as an engine with long contexts has: far from what the machine can do."""
CLOSED = 40
"""Clients that wait for an answer before they ask again: more than twice what runs at once."""
WAITING = 32
"""`max_waiting`: about two seconds' work."""
OUTPUT_TOKENS = 96
LEAST = 0.95
"""Part of the capacity that must be answered under overload."""


class Result(Struct, frozen=True):
    """One run."""

    offered: float
    answered: float
    """A second."""
    p50: float
    p99: float
    """Seconds, of those that were answered."""
    refused: Counter[str]
    advice: Counter[str]
    """Retry-After of those that were refused."""


async def closed(rig: Rig, seconds: float) -> Result:
    """As many clients as keep the engines full."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    rng = random.Random(1)
    seen: list[tuple[float, Seen]] = []

    async def client(number: int) -> None:
        while loop.time() < end:
            one = await ask(rig.port, body(rng), f"c{number}")
            seen.append((loop.time(), one))

    began = loop.time()
    await asyncio.gather(*map(client, range(CLOSED)))
    return _result(seen, began, end, len(seen) / seconds)


async def opened(rig: Rig, seconds: float, rate: float) -> Result:
    """Requests at random instants, `rate` a second, whatever becomes of them."""
    loop = asyncio.get_running_loop()
    rng = random.Random(2)
    seen: list[tuple[float, Seen]] = []

    async def client(number: int) -> None:
        one = await ask(rig.port, body(rng), f"o{number}")
        seen.append((loop.time(), one))

    began = at = loop.time()
    clients: list[asyncio.Task[None]] = []
    while at < began + seconds:
        at += rng.expovariate(rate)
        await asyncio.sleep(at - loop.time())
        clients.append(asyncio.create_task(client(len(clients))))
    await asyncio.gather(*clients)
    return _result(seen, began, began + seconds, len(clients) / seconds)


def body(rng: random.Random) -> bytes:
    """One of 20 families; their prefix is 400 tokens long."""
    family = rng.randrange(20)
    prompt = [family] * 400 + [rng.randrange(1000) for _ in range(50)]
    wanted = {"model": "emulated", "prompt": prompt, "max_tokens": OUTPUT_TOKENS, "stream": True}
    return msgspec.json.encode(wanted)


def _result(seen: list[tuple[float, Seen]], began: float, end: float, offered: float) -> Result:
    """The first fifth of the time is not counted: the queue has yet to fill."""
    start = began + (end - began) / 5
    counted = [one for at, one in seen if start <= at < end]
    good = sorted(one.seconds for one in counted if one.word == "200")
    bad = [one for one in counted if one.word != "200"]
    return Result(
        offered=offered,
        answered=len(good) / (end - start),
        p50=good[len(good) // 2],
        p99=good[len(good) * 99 // 100],
        refused=Counter(one.word for one in bad),
        advice=Counter(one.retry_after for one in bad),
    )


async def overload(seconds: float, least: float = LEAST) -> bool:
    """Print both runs, of so many seconds each; whether the second one kept up."""
    async with rigged(2, scheduler=SchedulerConfig(max_waiting=WAITING), emulated=ENGINE) as rig:
        full = await closed(rig, seconds)
        over = await opened(rig, seconds, 3 * full.answered)
        left = await rig.leftovers(len(rig.records))
    print("| | offered/s | answered/s | p50 | p99 | refused |\n|---|---|---|---|---|---|")
    for name, one in (("capacity", full), ("3 x capacity", over)):
        refused = ", ".join(f"{count} {word}" for word, count in one.refused.items()) or "none"
        print(
            f"| {name} | {one.offered:.0f} | {one.answered:.1f} | {one.p50:.2f} s"
            f" | {one.p99:.2f} s | {refused} |"
        )
    print(f"\nRetry-After: {dict(over.advice)}; left behind: {', '.join(left) or 'nothing'}")
    return over.answered >= least * full.answered and not left


def main() -> int:
    """The exit status: 0 when goodput held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each run")
    return 0 if run(overload(parser.parse_args().seconds)) else 1


if __name__ == "__main__":
    sys.exit(main())
