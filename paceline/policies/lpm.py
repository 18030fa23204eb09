"""Longest prefix match, as in SGLang, with the bound on starvation that SGLang lacks.

SGLang (schedule_policy.py, 0.5.23) sorts its waiting queue by -matched tokens at every pass and
falls back to arrival order above 128 waiting. Its in-batch dedupe (followers sorted last) is done
here for every policy, and exactly, by leaders and followers. Without a bound, 5% of requests waited
20-60 s there while the median was 0.7 s (sglang#31954).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from paceline.policies.bounded import Bounded
from paceline.scheduler.policy import View
from paceline.scheduler.types import Request


class Lpm(Bounded):
    """Longest prefix match first: what is cached already is used before it is evicted."""

    ranks: ClassVar[Literal["once", "on_match"]] = "on_match"

    def order(self, request: Request, view: View) -> tuple[float, ...]:
        """Most cached tokens first."""
        return (-view.cached(request),)
