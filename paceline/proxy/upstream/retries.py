"""Bounds retries in all, so that failing engines are not sent a multiple of the load."""

from __future__ import annotations

SHARE = 0.2
PER_SECOND = 10.0
"""A fifth of the requests and ten a second: Linkerd's default retry budget."""
MOST = 100.0
"""Retries saved up at most: ten seconds' worth."""


class RetryBudget:
    """Earned by requests and by time, spent by retries."""

    def __init__(self, now: float) -> None:
        self._left = MOST
        self._then = now

    def earn(self) -> None:
        """A request came."""
        self._left = min(MOST, self._left + SHARE)

    def spend(self, now: float) -> bool:
        """Take one retry, if one is left at `now` (seconds)."""
        self._left = min(MOST, self._left + PER_SECOND * (now - self._then))
        self._then = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
