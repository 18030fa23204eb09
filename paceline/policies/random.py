"""Random order, as in SGLang: the baseline that no order should lose to."""

from __future__ import annotations

from paceline.scheduler.fleet import Backend
from paceline.scheduler.policy import Policy, View
from paceline.scheduler.types import Request


class Random(Policy):
    """Any waiting request, each as likely as the others at every decision."""

    def __post_init__(self) -> None:
        self._reached = 0.0
        self._keys: dict[str, float] = {}

    def entered(self, request: Request, view: View) -> None:
        """Draw its key: by how much it exceeds the last one served is exponential, and so it is for
        those drawn before, since the exponential distribution has no memory. Hence the smallest of
        all keys is anybody's, as if drawn anew each time; exactly so on one backend, while those
        that wait for a busy one come in the order of their keys."""
        self._keys[request.id] = self._reached + view.rng.expovariate(1.0)

    def order(self, request: Request, view: View) -> tuple[float, ...]:
        """The number that it drew."""
        return (self._keys[request.id],)

    def dispatched(self, request: Request, backend: Backend, view: View) -> None:
        """Newcomers draw from here on."""
        self._reached = max(self._reached, self._keys[request.id])

    def left(self, request: Request, view: View) -> None:
        """Forget its number."""
        del self._keys[request.id]
