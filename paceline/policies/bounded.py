"""The bound on starvation that every order by prefix or size shares."""

from __future__ import annotations

from paceline.scheduler.policy import Policy, View
from paceline.scheduler.types import Request

MIN_BOUND = 0.5
"""Seconds: below this a wait is not worth breaking the order for."""


class Bounded(Policy):
    """A policy under which the oldest request goes first once it has waited too long."""

    max_wait_factor: float = 3.0
    """A request goes first once it has waited this many times the recent mean wait: scaled, because
    a fixed bound below the natural wait turns the whole order into first come, first served."""

    def overdue(self, request: Request, view: View) -> bool:
        """Waited far longer than others of its priority and tenant did."""
        waited = view.now - request.arrived_at
        return waited > MIN_BOUND and waited > self.max_wait_factor * view.mean_wait
