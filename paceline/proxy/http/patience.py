"""How long one connection may take for what comes next: one timer that serves many waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Patience:
    """Calls `on_late` once when the instant that was set last has passed."""

    __slots__ = ("_deadline", "_fires_at", "_loop", "_on_late", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, on_late: Callable[[], None]) -> None:
        self._loop = loop
        self._on_late = on_late
        self._deadline = 0.0
        self._fires_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def wait(self, seconds: float) -> None:
        """From now on so long."""
        deadline = self._deadline = self._loop.time() + seconds
        if self._timer is None or self._fires_at > deadline:
            self._arm()

    def until(self, deadline: float) -> None:
        """Up to an instant on the loop's clock; a timer that fires before is left alone."""
        self._deadline = deadline
        if self._timer is None or self._fires_at > deadline:
            self._arm()

    def rest(self) -> None:
        """Nothing is waited for."""
        self._deadline = 0.0

    def end(self) -> None:
        """Nothing ever will be."""
        self._on_late = _nobody  # the other refers to here: leave no cycle to the collector
        self._deadline = 0.0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._fires_at = self._deadline
        self._timer = self._loop.call_at(self._deadline, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if not self._deadline:
            return
        if self._loop.time() < self._deadline:
            self._arm()
        else:
            self._deadline = 0.0
            self._on_late()


def _nobody() -> None:
    """Whom to call at the end."""
