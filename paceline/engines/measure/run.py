"""Measures a live engine: every point three times, as far as the time allows."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from random import Random, SystemRandom
from statistics import median

from msgspec import Struct

from paceline.engines.base import Facts, Kind
from paceline.engines.measure.client import CannotMeasure, LiveEngine, live_engine
from paceline.engines.measure.measurement import Measurement
from paceline.engines.measure.plan import Limits, Point, plan
from paceline.engines.measure.timing import Timer, Unmeasured

ROUNDS = 3
DEAREST = 0.2
"""Part of the time that one point may take, or it is left out."""
WARM_UP = 2048
"""Tokens of prompts that are not counted: an engine's first requests compile and allocate."""

Progress = Callable[[], None]
"""Called once for each point of each round, measured or not."""


class Measured(Struct, frozen=True, kw_only=True):
    """What came of it."""

    engine: Facts
    measurements: list[Measurement]
    left_out: dict[str, int]
    """Points by why they are missing."""


def measure(url: str, seconds: float, begin: Callable[[int], Progress]) -> Measured:
    """Measure the engine at `url` for about `seconds` at most; CannotMeasure.

    `begin` is told the number of points in all rounds before the first of them.
    """
    return asyncio.run(measure_engine(url, seconds, begin))


async def measure_engine(url: str, seconds: float, begin: Callable[[int], Progress]) -> Measured:
    """`measure` on a loop that runs; raises CannotMeasure, too."""
    async with live_engine(url) as engine:
        limits = _limits(engine)
        points = plan(limits)
        rounds = _Rounds(engine, seconds)
        await rounds.warm_up(min(WARM_UP, (limits.context or WARM_UP) - 1))
        progress = begin(ROUNDS * len(points))
        for number in range(ROUNDS):
            for point in points:
                await rounds.measure(point, again=number > 0)
                progress()
        if not rounds.timed:
            raise CannotMeasure(f"{url} is too slow to be measured in {seconds:.0f} s")
        return Measured(
            engine=engine.facts,
            measurements=[
                _measurement(engine.facts.kind, point, median(times))
                for point, times in rounds.timed.items()
            ],
            left_out=dict(rounds.left_out),
        )


class _Rounds:
    """Times points while there is time, and remembers what each took."""

    def __init__(self, engine: LiveEngine, seconds: float) -> None:
        self.timed: dict[Point, list[float]] = defaultdict(list)
        self.left_out: dict[str, int] = defaultdict(int)
        self._timer = Timer(engine, Random(SystemRandom().getrandbits(64)))
        self._loop = asyncio.get_running_loop()
        self._dearest = DEAREST * seconds
        self._until = self._loop.time() + seconds
        self._token = 0.0
        """Seconds that a token of a long prompt was seen to take."""
        self._step = 0.0
        """Seconds that a decode step was seen to take."""
        self._took: dict[Point, float] = {}

    async def warm_up(self, tokens: int) -> None:
        """Learn roughly how fast the engine is."""
        point = Point(kind="lone", batch=1, prompt=tokens)
        await self._timer.time(point)
        self._token = await self._timer.time(point) / tokens

    async def measure(self, point: Point, *, again: bool) -> None:
        """Time a point, unless it was impossible before or there is no time for it."""
        if again and point not in self.timed:
            return
        start = self._loop.time()
        expected = self._took.get(point) or self._expected(point)
        if expected > self._dearest or start + expected > self._until:
            if not again:
                self.left_out["it would take too long"] += 1
            return
        try:
            timed = await self._timer.time(point)
        except Unmeasured as why:
            self.left_out[str(why)] += 1
            return
        self.timed[point].append(timed)
        self._took[point] = self._loop.time() - start
        if point.kind == "decode":
            self._step = max(self._step, timed)

    def _expected(self, point: Point) -> float:
        """Seconds; prefill grows a little faster than its tokens."""
        return point.prefill * self._token * 1.2 + point.output * self._step


def _limits(engine: LiveEngine) -> Limits:
    facts = engine.facts
    return Limits(
        context=engine.context,
        kv_tokens=facts.kv_tokens,
        max_running=facts.max_running,
        chunk_tokens=facts.chunk_tokens,
    )


def _measurement(engine: Kind, point: Point, seconds: float) -> Measurement:
    """A decode's context is that of the middle of its answer."""
    half = point.output // 2 if point.kind in ("decode", "mixed") else 0
    return Measurement(
        kind="stall" if point.kind == "mixed" and engine == "sglang" else point.kind,
        batch=point.batch,
        prompt=point.prompt + half,
        cached=point.cached,
        shared=point.shared,
        new=point.new,
        seconds=seconds,
    )
