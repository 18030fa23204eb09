"""How many requests a backend is given at once after it came back, or said that it is busy."""

from __future__ import annotations

DOUBLING_SECONDS = 1.0
"""After which the number doubles: a thousand streams are reached within ten. In steps, since at
each one all that wait are looked at again."""
UNLIMITED = 1024
"""From here on there is no limit of ours (`max_num_seqs` of vLLM on large GPUs)."""
MOST_SECONDS = 10.0
"""Longest time that a Retry-After is minded here; it is passed on to clients unchanged."""
LOAD_TOKENS = 16_384
"""Prefill tokens by which a backend that refused a request counts as busier in placement: two
steps of 8,192, more than what is kept at an engine (`feed_chunks`)."""


class Throttle:
    """A limit that grows by itself until it means nothing; none at first."""

    def __init__(self) -> None:
        self._level = 0
        self._from: float | None = None
        """From when the limit grows; None without one."""
        self._busy_until = 0.0

    def returned(self, now: float) -> None:
        """It came back with a cold cache: slow start, from one request."""
        self._level, self._from = 1, now

    def refused(self, now: float, in_flight: int, retry_after: float | None) -> None:
        """It answered 429 or 503 while it had `in_flight` others: that was too many."""
        wait = min(max(retry_after or 0.0, 1.0), MOST_SECONDS)
        self._level = max(1, min(in_flight, self._limit(now) or in_flight))
        self._from = self._busy_until = now + wait

    def limit(self, now: float) -> int | None:
        """Requests that it may have at once now; None for any number."""
        level = self._limit(now)
        if level is None:
            self._from = None
        return level

    def load_tokens(self, now: float) -> int:
        """What placement should add to its load."""
        return LOAD_TOKENS if now < self._busy_until else 0

    def _limit(self, now: float) -> int | None:
        if self._from is None:
            return None
        doublings = min(16, int(max(0.0, now - self._from) / DOUBLING_SECONDS))
        level = self._level << doublings
        return level if level < UNLIMITED else None
