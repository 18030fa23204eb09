"""Carries out one point of the plan and times it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from random import Random
from statistics import median

from paceline.engines.measure.client import Answer, LiveEngine
from paceline.engines.measure.plan import PROBES, Point

LOWEST, HIGHEST = 100, 500
"""Token ids to draw from: every vocabulary has them, and few of them mean anything special."""
PAUSE = 0.05
"""Seconds of rest before each point, so that no step of the one before is still under way."""
FEWEST = 8
"""Tokens over which a pace is measured at least."""

Ids = list[int]


def _nobody() -> None:
    """Nobody wants to know."""


class Unmeasured(Exception):
    """This point cannot be had from this engine; the message says why."""


class Timer:
    """Times points at one engine; prompts are random, so that none was ever sent before."""

    def __init__(self, engine: LiveEngine, rng: Random) -> None:
        self._engine = engine
        self._rng = rng
        self._loop = asyncio.get_running_loop()

    async def time(self, point: Point) -> float:
        """Seconds as `Measurement` defines them; Unmeasured, CannotMeasure."""
        await asyncio.sleep(PAUSE)
        if point.kind == "mixed":
            return await self._mixed(point)
        if point.kind == "decode":
            return _pace(await self._together(point))
        if point.kind == "burst":
            answers = await self._together(point)
            return max(a.times[0] for a in answers) - min(a.sent for a in answers)
        return await self._lone(point)

    async def _lone(self, point: Point) -> float:
        prefix = await self._cache(point.cached)
        ids = prefix + self._ids(point.prompt - point.cached)
        answer = await self._engine.complete(ids, 1, known=point.cached)
        if point.cached and answer.cached == 0:
            raise Unmeasured("the engine cached nothing of a prompt sent twice")
        return answer.times[0] - answer.sent

    async def _together(self, point: Point, begun: Callable[[], None] = _nobody) -> list[Answer]:
        """All prompts of a batch, sent in one instant; `begun` is called once an answer."""
        prefix = await self._cache(point.shared)
        prompts = [prefix + self._ids(point.prompt - point.shared) for _ in range(point.batch)]
        send = partial(self._engine.complete, tokens=point.output, known=point.shared, begun=begun)
        return await asyncio.gather(*map(send, prompts))

    async def _mixed(self, point: Point) -> float:
        """Prompts one after the other, while a batch decodes: its longest pause at each."""
        all_begun = _Countdown(point.batch)
        decodes = asyncio.ensure_future(self._together(point, all_begun.one))
        waiting = asyncio.ensure_future(all_begun.done.wait())
        await asyncio.wait({decodes, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        spans: list[tuple[float, float]] = []
        while len(spans) < PROBES and not decodes.done():
            answer = await self._engine.complete(self._ids(point.new), 1)
            spans.append((answer.sent, answer.times[0]))
        answers = await decodes
        ended = min(answer.times[-1] for answer in answers)
        begun = max(answer.times[0] for answer in answers)
        inside = [(sent, first) for sent, first in spans if begun <= sent and first < ended]
        if not inside:
            raise Unmeasured("the batch does not decode together")
        return median(median(_pause(a.times, *span) for a in answers) for span in inside)

    async def _cache(self, tokens: int) -> Ids:
        """Ids that the engine has in its cache from now on."""
        ids = self._ids(tokens)
        if tokens:
            await self._engine.complete(ids, 1)
            await asyncio.sleep(PAUSE)
        return ids

    def _ids(self, count: int) -> Ids:
        return self._rng.choices(range(LOWEST, HIGHEST), k=count)


class _Countdown:
    """Sets `done` when `one` has been called so many times."""

    def __init__(self, count: int) -> None:
        self.done = asyncio.Event()
        self._count = count

    def one(self) -> None:
        self._count -= 1
        if not self._count:
            self.done.set()


def _pace(answers: Sequence[Answer]) -> float:
    """Seconds a token while all answers are under way; Unmeasured when they never are."""
    begin = max(answer.times[0] for answer in answers)
    end = min(answer.times[-1] for answer in answers)
    spans = [[t for t in answer.times if begin <= t <= end] for answer in answers]
    if min(map(len, spans)) < FEWEST:
        raise Unmeasured("the batch does not decode together")
    return median((span[-1] - span[0]) / (len(span) - 1) for span in spans)


def _pause(times: Sequence[float], sent: float, first: float) -> float:
    """The longest time between two tokens while a prompt was sent and prefilled."""
    gaps = [after - before for before, after in pairwise(times) if after > sent and before < first]
    return max(gaps)
