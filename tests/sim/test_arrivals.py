"""Gaps have the mean and the burstiness that were asked for."""

from __future__ import annotations

from itertools import islice
from random import Random
from statistics import fmean, stdev

import pytest

from paceline.sim.arrivals import Gaps, at_once, gaps, mixed, spaced, weibull_shape
from paceline.sim.workload import Session


@pytest.mark.parametrize(("kind", "cv"), [("poisson", 1.0), ("gamma", 2.5), ("weibull", 2.5)])
def test_mean_and_variation(kind: Gaps, cv: float) -> None:
    """20,000 gaps at 5 a second: the mean within 5%, the coefficient of variation within 10%."""
    drawn = list(islice(gaps(kind, 5.0, cv, Random(1)), 20_000))
    assert fmean(drawn) == pytest.approx(0.2, rel=0.05)
    assert stdev(drawn) / fmean(drawn) == pytest.approx(cv, rel=0.10)


def test_weibull_shapes() -> None:
    """Shape 1 is the exponential distribution, whose variation is 1; 0.5 has the root of 5."""
    assert weibull_shape(1.0) == pytest.approx(1.0)
    assert weibull_shape(5**0.5) == pytest.approx(0.5)


def test_starts() -> None:
    """All at once is 0; spaced sessions start a gap after one another; mixed ones by time."""
    assert [s.at for s in at_once([Session("a", ()), Session("b", ())])] == [0.0, 0.0]
    one = spaced([Session("a", ()), Session("b", ())], iter([1.0, 2.0]))
    other = spaced([Session("c", ())], iter([2.5]))
    assert [(s.id, s.at) for s in mixed(one, other)] == [("a", 1.0), ("c", 2.5), ("b", 3.0)]
