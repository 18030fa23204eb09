"""One soak from start to verdict: capacity, then the load with its disasters and reloads."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine

from msgspec import Struct

from bench.faults.rig import quiet
from bench.soak.engines import Engines, engines
from bench.soak.proxy import ProxyProcess, Sample, proxy
from bench.soak.traffic import Traffic
from bench.soak.verdict import leftovers, miscounted

CLIENTS = 40
"""That measure the capacity: twice as many as run at once."""
SETTLE_SECONDS = 15.0
"""Longest wait until an idle proxy has closed what it kept."""


class Plan(Struct, frozen=True, kw_only=True):
    """How long and how hard; in seconds."""

    seconds: float
    load: float
    """Part of the capacity."""
    capacity_seconds: float = 20.0
    sample_every: float = 5.0
    reload_every: float = 60.0
    """One engine leaves the configuration, and comes back after a tenth of that."""
    disaster_every: float = 90.0
    seed: int = 7


class Soak(Struct, frozen=True):
    """What was measured."""

    capacity: float
    rate: float
    """Requests a second."""
    before: Sample
    """Idle, after the capacity was measured."""
    samples: list[Sample]
    after: Sample
    seen: dict[str, int]
    kinds: dict[str, int]
    p50: float
    p99: float
    """Seconds of those answered whole."""
    disasters: int
    reloads: int
    complaints: dict[str, int]
    """Lines logged at `warning` and above, by their event."""
    broken: list[str]
    """What did not hold but for memory, in words."""


async def soak(plan: Plan) -> Soak:
    """Run it, in real time."""
    quiet()
    rng = random.Random(plan.seed)
    async with engines(rng) as behind, proxy(behind.urls) as process:
        return await _Run(plan, behind, process, rng).measured()


class _Run:
    """One soak under way."""

    def __init__(
        self, plan: Plan, engines: Engines, process: ProxyProcess, rng: random.Random
    ) -> None:
        self._plan = plan
        self._engines = engines
        self._process = process
        self._traffic = Traffic(process.port, engines, rng)
        self._samples: list[Sample] = []
        self._disasters = 0
        self._reloads = 0
        self._began = asyncio.get_running_loop().time()

    async def measured(self) -> Soak:
        """All of it."""
        traffic = self._traffic
        started = await self._sample()
        capacity = await traffic.closed(CLIENTS, self._plan.capacity_seconds)
        traffic.close()
        before = await self._idle(started)
        self._began = asyncio.get_running_loop().time()
        rate = capacity * self._plan.load
        await self._under_load(rate)
        traffic.close()
        after = await self._idle(started)
        ended = await asyncio.to_thread(self._process.ended)
        broken = [*traffic.unexcused, *leftovers(started, after), *miscounted(traffic, ended)]
        seconds = sorted(traffic.seconds)
        return Soak(
            capacity=capacity,
            rate=rate,
            before=before,
            samples=self._samples,
            after=after,
            seen=dict(traffic.seen.most_common()),
            kinds=dict(traffic.kinds.most_common()),
            p50=seconds[len(seconds) // 2],
            p99=seconds[len(seconds) * 99 // 100],
            disasters=self._disasters,
            reloads=self._reloads,
            complaints=dict(self._process.complaints().most_common()),
            broken=broken,
        )

    async def _under_load(self, rate: float) -> None:
        """Traffic, and what happens beside it until it is over."""
        self._engines.misbehave()
        beside = (
            (self._plan.sample_every, self._keep_sample),
            (self._plan.reload_every, self._reload),
            (self._plan.disaster_every, self._disaster),
        )
        tasks = [asyncio.create_task(_every(*one)) for one in beside]
        await self._traffic.opened(rate, self._plan.seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._engines.behave()

    async def _keep_sample(self) -> None:
        self._samples.append(await self._sample())

    async def _reload(self) -> None:
        """One engine less, and after a while it is back."""
        self._reloads += 2
        self._process.reload(self._engines.urls[:-1], max_waiting=9_000)
        await asyncio.sleep(self._plan.reload_every / 10)
        self._process.reload(self._engines.urls)

    async def _disaster(self) -> None:
        self._disasters += 1
        await self._engines.disaster(self._disasters)

    async def _sample(self) -> Sample:
        at = asyncio.get_running_loop().time() - self._began
        return await asyncio.to_thread(self._process.sample, at)

    async def _idle(self, before: Sample) -> Sample:
        """A sample once nothing is left, or when that has taken too long."""
        give_up = asyncio.get_running_loop().time() + SETTLE_SECONDS
        while True:
            now = await self._sample()
            if not leftovers(before, now) or asyncio.get_running_loop().time() > give_up:
                return now
            await asyncio.sleep(0.2)


async def _every(seconds: float, act: Callable[[], Coroutine[None, None, None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        await act()
