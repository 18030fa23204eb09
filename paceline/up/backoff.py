"""How long to wait before an engine that ended is started again, and when to give it up."""

from __future__ import annotations

from paceline.up.config import UpConfig


class Backoff:
    """Counts ends in a row."""

    def __init__(self, config: UpConfig) -> None:
        self._config = config
        self._crashes = 0

    def ended(self, served: float) -> float | None:
        """Seconds to wait after an end; None: give up.

        `served`: seconds for which it was ready before; 0 for an engine that never was.
        """
        config = self._config
        if served >= config.steady_seconds:
            self._crashes = 0
        self._crashes += 1
        if self._crashes >= config.max_crashes:
            return None
        pause = config.restart_seconds * 2.0 ** (self._crashes - 1)
        return min(pause, config.max_restart_seconds)
