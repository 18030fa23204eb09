"""Slow emulated engines, which fail now and then and remember whom that concerned."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from bench.faults.engine import FaultyEngine, faulty_engine
from bench.faults.storm import random_fault
from paceline.engines.emulator.config import EmulatorConfig

COUNT = 3
EMULATED = EmulatorConfig(kind="sglang", speed=0.5, max_running=6, kv_tokens=100_000)
"""Half as fast as an H100 with six requests at once: some 20 requests a second on three, which
leaves two cores of a small machine mostly idle."""
FAULTY = 0.01
"""Share of generations that fail in one of the ways of the fault matrix."""
FREEZE_SECONDS = 1.5
"""More than `hang_seconds`."""


class Engines:
    """All of them, and the instants at which one was killed."""

    def __init__(self, engines: Sequence[FaultyEngine], rng: random.Random) -> None:
        self.urls = [engine.url for engine in engines]
        self.kills: list[float] = []
        """On the loop's clock."""
        self._engines = engines
        self._rng = rng

    def misbehave(self) -> None:
        """From now on some generations fail."""
        for engine in self._engines:
            engine.next_fault = lambda: random_fault(self._rng, FAULTY)

    def behave(self) -> None:
        """None fails any longer."""
        for engine in self._engines:
            engine.next_fault = lambda: random_fault(self._rng, 0.0)

    async def disaster(self, number: int) -> None:
        """By turns one is killed and started again, or stops for a moment."""
        engine = self._rng.choice(self._engines)
        if number % 2:
            engine.thawed.clear()
            await asyncio.sleep(FREEZE_SECONDS)
            engine.thawed.set()
        else:
            self.kills.append(asyncio.get_running_loop().time())
            await engine.restart()

    def excuse(self, id: str, began: float, ended: float) -> bool:
        """Whether a failure of this request was asked for."""
        met = any(id.encode() in engine.failed for engine in self._engines)
        return met or any(began <= kill <= ended for kill in self.kills)


@asynccontextmanager
async def engines(rng: random.Random) -> AsyncIterator[Engines]:
    """All of them, each on a port of its own."""
    async with AsyncExitStack() as stack:
        faulty = [await stack.enter_async_context(faulty_engine(EMULATED)) for _ in range(COUNT)]
        yield Engines(faulty, rng)
