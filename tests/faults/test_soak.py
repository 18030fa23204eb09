"""The soak in small: every request ends, nothing is left, and growth would be seen."""

from __future__ import annotations

import pytest

from bench.soak.run import Plan, soak
from bench.soak.verdict import growth, unflat


async def test_nothing_is_left_after_mixed_traffic_faults_and_reloads() -> None:
    """The whole proxy as a process: counters at zero, and no failure but those that were played."""
    plan = Plan(
        seconds=5.0,
        load=0.7,
        capacity_seconds=2.0,
        sample_every=1.0,
        reload_every=1.5,
        disaster_every=2.0,
    )
    found = await soak(plan)
    assert found.broken == []
    assert found.reloads >= 4
    assert found.disasters >= 2
    assert sum(found.seen.values()) > 50


@pytest.mark.parametrize(("last", "grown"), [(100.0, 0.0), (110.0, 0.095)])
def test_growth_is_that_of_the_second_half(last: float, grown: float) -> None:
    """However much memory grew before; a slope there is told as a part of the mean."""
    first = [(float(at), at * 10.0) for at in range(10)]
    second = [(10.0 + at, 100.0 + (last - 100.0) * at / 9) for at in range(10)]
    assert growth(first + second) == pytest.approx(grown, abs=0.001)
    assert bool(unflat(first + second)) == (grown > 0)
