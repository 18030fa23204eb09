"""k-LPM: longest prefix match, but every k-th request is the oldest.

Dexter et al., "LLM Query Scheduling with Prefix Reuse and Latency Constraints" (NeurIPS 2025, arXiv
2502.04677): the oldest, then k-1 times the longest match. With k=1 it is first come, first served;
with k infinite, longest prefix match. A forced cold request evicts what the next ones hit, so k
should exceed the hits that a miss brings, such as the size of a family.
"""

from __future__ import annotations

from paceline.policies.lpm import Lpm
from paceline.scheduler.fleet import Backend
from paceline.scheduler.policy import View
from paceline.scheduler.types import Request


class KLpm(Lpm):
    """Longest prefix match, with every k-th turn for the oldest request."""

    k: float = 32.0
    """One request in this many goes for its age: 1 is first come, first served, `inf` is lpm."""

    def __post_init__(self) -> None:
        self._matches = 0
        """Requests that went since one went for its age."""
        self._oldest = ""

    def overdue(self, request: Request, view: View) -> bool:
        """Its turn, or it waited far longer than others did."""
        if self._matches + 1 >= self.k or super().overdue(request, view):
            self._oldest = request.id
            return True
        return False

    def dispatched(self, request: Request, backend: Backend, view: View) -> None:
        """Count, or start counting again."""
        self._matches = 0 if request.id == self._oldest else self._matches + 1
