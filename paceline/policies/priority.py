"""Tiers with ageing: a request of low priority climbs until it is served.

Every other policy takes tiers strictly, as SGLang and vLLM do, so that a tier above that is never
empty starves those below. Ageing is the usual remedy (Silberschatz et al., Operating System
Concepts, 5.3.4).
"""

from __future__ import annotations

from typing import ClassVar

from paceline.scheduler.policy import Policy, View
from paceline.scheduler.types import Request


class Priority(Policy):
    """Highest tier first, in arrival order; waiting lifts a request tier by tier."""

    strict: ClassVar[bool] = False

    climb_seconds: float = 10.0
    """Seconds of waiting after which a request counts as one tier higher."""

    def bucket(self, request: Request, view: View) -> int:
        """Those of one priority never overtake each other."""
        return request.priority

    def rank(self, request: Request, view: View) -> tuple[float, ...]:
        """Its priority and the tiers that it climbed."""
        climbed = (view.now - request.arrived_at) // self.climb_seconds
        return (-request.priority - climbed, request.arrived_at)
