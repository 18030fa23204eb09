"""Highest response ratio next, as in SGLang: waiting counts, and counts more for short prefills.

SGLang (schedule_policy.py, 0.5.23; sglang#32911): the largest (prefill tokens processed since its
arrival) / (its uncached tokens) goes first, those with nothing uncached before all. Its clock
counts tokens, not seconds. In production there, mean TTFT fell by 69% against fcfs and p99 by 8%,
where lpm gave -32% and +253%.

Ratios of different sizes grow at different speeds, so requests are kept in buckets of similar size,
each in order of arrival, and only the first of each is compared. Who goes has at least 1/1.19
(2^-0.25) of the highest ratio.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from paceline.policies.bounded import Bounded
from paceline.scheduler.fleet import Backend
from paceline.scheduler.policy import View
from paceline.scheduler.types import Request

STEPS = 4
"""Buckets to a doubling of size."""


class Hrrn(Bounded):
    """Highest ratio of waiting to uncached tokens first."""

    ranks: ClassVar[Literal["once", "on_match"]] = "on_match"

    def __post_init__(self) -> None:
        self._processed = 0
        """Prefill tokens sent to backends so far."""
        self._arrived: dict[str, int] = {}
        """What it stood at when each waiting request arrived."""

    def entered(self, request: Request, view: View) -> None:
        """Start its clock."""
        self._arrived[request.id] = self._processed

    def left(self, request: Request, view: View) -> None:
        """Forget its clock."""
        del self._arrived[request.id]

    def dispatched(self, request: Request, backend: Backend, view: View) -> None:
        """The clock runs by what is to be computed."""
        self._processed += max(0, request.prompt_tokens - view.cached(request, backend))

    def bucket(self, request: Request, view: View) -> int:
        """Its size class, -1 with nothing uncached."""
        uncached = request.prompt_tokens - view.cached(request)
        return int(STEPS * math.log2(uncached)) if uncached > 0 else -1

    def order(self, request: Request, view: View) -> tuple[float, ...]:
        """In a bucket, who came first."""
        return (self._arrived[request.id],)

    def rank(self, request: Request, view: View) -> tuple[float, ...]:
        """Highest ratio first."""
        uncached = request.prompt_tokens - view.cached(request)
        if uncached <= 0:
            return (-math.inf,)
        return ((self._arrived[request.id] - self._processed) / uncached,)
