"""Longest prefix match, as in SGLang, with the bound on starvation that SGLang lacks.

SGLang (schedule_policy.py, 0.5.23) sorts its waiting queue by -matched tokens at every pass and
falls back to arrival order above 128 waiting. Its in-batch dedupe (followers sorted last) is done
here for every policy, and exactly, by leaders and followers. Without a bound, 5% of requests waited
20-60 s there while the median was 0.7 s (sglang#31954).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from paceline.scheduler.policy import Policy, View
from paceline.scheduler.types import Request

MIN_BOUND = 0.5
"""Seconds: below this a wait is not worth breaking the order for."""


class Lpm(Policy):
    """Longest prefix match first: what is cached already is used before it is evicted."""

    ranks: ClassVar[Literal["once", "on_match", "always"]] = "on_match"

    max_wait_factor: float = 3.0
    """A request goes first once it has waited this many times the recent mean wait: scaled, because
    a fixed bound below the natural wait turns the whole order into first come, first served."""

    def order(self, request: Request, view: View) -> tuple[float, ...]:
        """Most cached tokens first."""
        return (-view.cached(request),)

    def overdue(self, request: Request, view: View) -> bool:
        """Waited far longer than others did."""
        waited = view.now - request.arrived_at
        return waited > max(MIN_BOUND, self.max_wait_factor * view.mean_wait)
