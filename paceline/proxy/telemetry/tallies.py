"""Counters and histograms that cost an addition: Prometheus's own take a lock for each."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from math import inf

from msgspec import Struct
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily

LAST = "+Inf"
Labels = tuple[str, ...]


class Tallies(Struct, frozen=True):
    """What one process counted in a while, by the metrics' names: to be added to another's."""

    counts: dict[str, list[tuple[Labels, float]]]
    spreads: dict[str, list[tuple[Labels, list[int], float]]]
    """A series' labels, how many fell into each of its buckets, and their sum."""


class Count:
    """One counter, by its labels' values."""

    def __init__(self, name: str, doc: str, *labels: str) -> None:
        self.values: defaultdict[Labels, float] = defaultdict(float)
        """Add to these."""
        self._name, self._doc, self._labels = f"paceline_{name}", doc, labels

    def family(self) -> CounterMetricFamily:
        """As it is scraped."""
        family = CounterMetricFamily(self._name, self._doc, labels=self._labels)
        for labels, value in self.values.items():
            family.add_metric(labels, value)
        return family

    def take(self) -> list[tuple[Labels, float]]:
        """What was counted since the last time."""
        taken = list(self.values.items())
        self.values.clear()
        return taken

    def add(self, counted: list[tuple[Labels, float]]) -> None:
        """Count what another process took."""
        for labels, value in counted:
            self.values[labels] += value


class Spread:
    """The values that one series of a histogram has seen."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """How many fell into each bucket, the last one without a bound."""
        self.total = 0.0

    def add(self, value: float) -> None:
        """One more."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def take(self) -> tuple[list[int], float]:
        """What was seen since the last time."""
        taken = self.counts, self.total
        self.counts, self.total = [0] * len(self.counts), 0.0
        return taken

    def merge(self, counts: list[int], total: float) -> None:
        """See what another process took."""
        self.counts = [a + b for a, b in zip(self.counts, counts, strict=True)]
        self.total += total

    def buckets(self) -> Iterator[tuple[str, float]]:
        """Upper bounds and how many were not above them, as Prometheus wants them."""
        below = 0
        for bound, count in zip((*self._bounds, inf), self.counts, strict=True):
            below += count
            yield LAST if bound == inf else str(float(bound)), below


class Histogram:
    """One histogram, by its labels' values."""

    def __init__(self, name: str, doc: str, bounds: tuple[float, ...], *labels: str) -> None:
        self._name, self._doc, self._labels = f"paceline_{name}", doc, labels
        self._bounds = bounds
        self._spreads: dict[Labels, Spread] = {}

    def labels(self, *values: str) -> Spread:
        """The series of these values; keep it, looking it up is not free."""
        return self._spreads.setdefault(values, Spread(self._bounds))

    def family(self) -> HistogramMetricFamily:
        """As it is scraped."""
        family = HistogramMetricFamily(self._name, self._doc, labels=self._labels)
        for labels, spread in self._spreads.items():
            family.add_metric(labels, list(spread.buckets()), spread.total)
        return family

    def take(self) -> list[tuple[Labels, list[int], float]]:
        """What was seen since the last time; series without values are left out."""
        seen = [(labels, spread) for labels, spread in self._spreads.items() if any(spread.counts)]
        return [(labels, *spread.take()) for labels, spread in seen]

    def add(self, seen: list[tuple[Labels, list[int], float]]) -> None:
        """See what another process took."""
        for labels, counts, total in seen:
            self.labels(*labels).merge(counts, total)
