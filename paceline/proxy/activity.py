"""What is going on at each backend, as the driver's events tell: for the health checks."""

from __future__ import annotations

from collections import Counter

from paceline.scheduler.events import (
    Action,
    Cancelled,
    Dispatch,
    Event,
    Failed,
    Finished,
    FirstByte,
)


class Activity:
    """Follows scheduled requests from dispatch to end; give `observe` to the driver."""

    def __init__(self) -> None:
        self._where: dict[str, str] = {}
        self._in_flight: Counter[str] = Counter()
        self._last_byte: dict[str, float] = {}

    def observe(self, event: Event, actions: list[Action], now: float) -> None:
        """An event was handled at `now`, and these are the decisions."""
        if isinstance(event, FirstByte | Finished) and event.id in self._where:
            self._last_byte[self._where[event.id]] = now
        if isinstance(event, Finished | Failed | Cancelled):
            self._leave(event.id)
        for action in actions:
            if isinstance(action, Dispatch):
                self._where[action.id] = action.backend
                self._in_flight[action.backend] += 1

    def in_flight(self, backend: str) -> int:
        """Requests sent there and not ended."""
        return self._in_flight[backend]

    def last_byte_at(self, backend: str) -> float | None:
        """When an answer last began or ended there; None before the first."""
        return self._last_byte.get(backend)

    def _leave(self, id: str) -> None:
        backend = self._where.pop(id, None)
        if backend is not None:
            self._in_flight[backend] -= 1
