"""Percentiles are within 5% of the true ones, in a bounded number of buckets."""

from __future__ import annotations

import pytest

from paceline.proxy.ui.quantiles import Durations


def test_nothing_has_no_percentile() -> None:
    """None, not zero: a slot without streams must leave a gap in the line."""
    assert Durations().quantile(0.5) is None


@pytest.mark.parametrize(("part", "true"), [(0.5, 0.5), (0.9, 0.9), (0.99, 0.99), (1.0, 1.0)])
def test_percentiles_are_within_five_percent(part: float, true: float) -> None:
    """Of 1 ms to 1 s in even steps."""
    durations = Durations()
    for millisecond in range(1, 1001):
        durations.add(millisecond / 1000)
    assert durations.quantile(part) == pytest.approx(true, rel=0.05)


def test_nonsense_counts_as_the_shortest() -> None:
    """A clock that steps back does not break the page."""
    durations = Durations()
    durations.add(-1.0)
    durations.add(0.0)
    assert durations.quantile(1.0) == pytest.approx(1e-4, rel=0.05)
