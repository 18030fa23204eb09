"""Traffic without the proxy: every request goes to the next backend at once."""

from __future__ import annotations

from paceline.scheduler.events import (
    Action,
    Arrived,
    BackendChanged,
    BackendRemoved,
    Dispatch,
    Event,
)


class RoundRobin:
    """Holds nothing and orders nothing; takes the scheduler's place in the driver."""

    def __init__(self) -> None:
        self._backends: list[str] = []
        self._next = 0

    def handle(self, event: Event, now: float) -> list[Action]:
        """Send an arrival on; take note of backends; IndexError when there is none."""
        match event:
            case Arrived(request):
                backend = self._backends[self._next % len(self._backends)]
                self._next += 1
                return [Dispatch(request.id, backend, 0, 0.0, "direct")]
            case BackendChanged(spec):
                self._backends.append(spec.id)
            case BackendRemoved(id):
                self._backends.remove(id)
            case _:
                pass
        return []

    def deadline(self) -> float | None:
        """Never."""
        return None
