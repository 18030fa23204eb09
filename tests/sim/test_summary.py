"""Figures follow their definitions."""

from __future__ import annotations

import pytest

from paceline.sim.statistics import change, estimate
from paceline.sim.summary import Slo, jain, percentile, spread, summarise
from tests.sim.dialogue import row


def test_a_run() -> None:
    """Three requests, one of them refused."""
    rows = [
        row(arrival=1.0, dispatched=1.5, first=2.0, last=4.0, out=5, cached=50),
        row(arrival=2.0, dispatched=2.0, first=5.0, last=5.0, out=1, prompt=300, cached=250),
        row(arrival=2.0, dispatched=None, first=None, last=None, reason="queue_full"),
    ]
    made = summarise(rows, Slo(ttft_s=2.0))
    assert (made.requests, made.completed, made.refused) == (3, 2, 1)
    assert (made.makespan_s, made.hit_rate) == (4.0, 0.75)
    assert made.ttft_s.mean == pytest.approx(2.0)
    assert made.tpot_s.mean == pytest.approx(0.5)
    assert made.wait_s.p50 == pytest.approx(0.25)
    assert (made.goodput_per_s, made.output_tokens_per_s) == (0.25, 1.5)


@pytest.mark.parametrize(
    ("slo", "good"),
    [
        (Slo(), 1),
        (Slo(ttft_s=0.9), 0),
        (Slo(tpot_s=0.4), 0),
        (Slo(e2e_s=2.9), 0),
        (Slo(e2e_s=3), 1),
    ],
)
def test_goodput(slo: Slo, good: int) -> None:
    """Every limit must be kept: TTFT 1 s, TPOT 0.5 s, 3 s in all."""
    assert summarise([row()], slo).goodput_per_s == good / 3.0


def test_nothing() -> None:
    """No requests, no figures, no error."""
    assert summarise([], Slo()).makespan_s == 0.0


def test_percentiles() -> None:
    """As numpy's default: linear between neighbours."""
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.5
    assert percentile([1.0], 0.99) == 1.0
    assert spread(range(101)).p90 == 90.0


def test_jain() -> None:
    """1 when all groups wait alike; a half when one of two waits alone; tenants before families."""
    alike = [row(tenant="a"), row(tenant="b")]
    assert jain(alike) == pytest.approx(1.0)
    apart = [row(family="a", first=0.0), row(family="b", first=8.0)]
    assert jain(apart) == pytest.approx(0.5)
    assert jain([]) == 1.0


def test_intervals() -> None:
    """Student's t: 1, 2, 3 have the mean 2 and 4.303 / sqrt(3) to each side."""
    found = estimate([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.half == pytest.approx(4.303 / 3**0.5)
    assert estimate([5.0]).half is None
    assert estimate([0.0, 1.0] * 50).half == pytest.approx(1.96 * 0.0502519, rel=1e-4)


def test_pairs() -> None:
    """Seeds that differ much, a policy that always halves: the change is certain."""
    found = change([1.0, 10.0, 100.0], [2.0, 20.0, 200.0])
    assert found is not None
    assert (found.mean, found.half) == (-0.5, 0.0)
    assert change([1.0], [0.0]) is None
