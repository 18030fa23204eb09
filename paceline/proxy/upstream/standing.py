"""What is thought of one backend: whether it is sent requests, and how many at once."""

from __future__ import annotations

from collections.abc import Callable

from paceline.proxy.upstream.breaker import Breaker
from paceline.proxy.upstream.throttle import Throttle

BUSY = (429, 503)
"""Statuses by which an engine says that it has too much to do."""
BROKEN = (500, 502, 504)
"""Statuses of an engine that does not work."""


class Standing:
    """Told by the health checks and by every request; the watch reads it."""

    def __init__(self) -> None:
        self.healthy = False
        """Its health checks succeed."""
        self.hung = False
        """It takes connections and answers nothing."""
        self.breaker = Breaker()
        self.throttle = Throttle()
        self.changed: Callable[[], None] = _nobody
        """Called when requests change something here."""

    def usable(self, alone: bool) -> bool:
        """Whether it may be sent requests; `alone` when nobody else serves what it serves.

        The last one is not left for its failures: an engine that fails half of its requests is
        better than none. One that does not answer at all is left all the same, and requests wait.
        """
        return self.healthy and not self.hung and (alone or not self.breaker.open)

    def answered(
        self, status: int, now: float, in_flight: int, retry_after: bytes | None = None
    ) -> None:
        """It answered a request with `status`, having `in_flight` others."""
        if status in BUSY:
            self.throttle.refused(now, in_flight, _seconds(retry_after))
            self.changed()
        elif status in BROKEN:
            self.failed(now)
        else:
            self.breaker.succeeded()

    def failed(self, now: float) -> None:
        """It gave a request no answer, or broke off."""
        if self.breaker.failed(now):
            self.changed()


def _nobody() -> None:
    """Nobody watches this backend."""


def _seconds(value: bytes | None) -> float | None:
    """A Retry-After in seconds; dates are not worth reading here."""
    return float(value) if value is not None and value.isdigit() and len(value) < 6 else None
