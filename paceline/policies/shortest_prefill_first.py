"""Least uncached prefill first, as SGLang's shortest-prefill-first, with a bound on starvation.

SGLang (schedule_policy.py, 0.5.23) sorts by uncached tokens and has no ageing. Shortest job first
has the least mean wait of all orders, and the longest tail.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from paceline.policies.bounded import Bounded
from paceline.scheduler.policy import View
from paceline.scheduler.types import Request


class ShortestPrefillFirst(Bounded):
    """Fewest uncached tokens first: the least mean time to first token."""

    ranks: ClassVar[Literal["once", "on_match"]] = "on_match"

    def order(self, request: Request, view: View) -> tuple[float, ...]:
        """Fewest tokens to compute first."""
        return (request.prompt_tokens - view.cached(request),)
