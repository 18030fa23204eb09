"""Highest response ratio next, on a clock of prefill tokens."""

from __future__ import annotations

from paceline.policies.hrrn import Hrrn
from tests.policies.lineup import LineUp


def test_short_ones_pass_until_long_ones_have_waited() -> None:
    """The ratio of `long` (610 uncached) grows six times slower than that of `short` (110)."""
    line = LineUp(Hrrn(max_wait_factor=1e9))
    line.wait("first", "pqr")
    line.wait("long", "uvwxyz")
    line.wait("short1", "s")
    assert line.next(0.2) == "first", "nothing was computed since they came: the oldest goes"
    assert line.next(0.3) == "short1", "310/110 against 310/610"
    line.wait("short2", "t", at=0.35)
    assert line.next(0.4) == "long", "420/610 against 0/110"


def test_waiting_is_counted_in_tokens() -> None:
    """Seconds alone change nothing: the ratio grows with what others had computed."""
    line = LineUp(Hrrn(max_wait_factor=1e9))
    line.wait("long", "uvwxyz")
    line.wait("s1", "s")
    assert line.all(500.0) == "long s1"


def test_what_is_cached_whole_goes_before_all() -> None:
    """Nothing to compute: no ratio is higher."""
    line = LineUp(Hrrn(max_wait_factor=1e9))
    line.wait("cold", "xyz")
    line.wait("whole", "ABCD", tail=0)
    assert line.next(0.2) == "whole"


def test_a_size_class_is_compared_by_its_oldest() -> None:
    """310 and 330 uncached tokens share a bucket: who came first goes, within 1.19 of the best."""
    line = LineUp(Hrrn(max_wait_factor=1e9))
    line.wait("larger", "xyz", tail=30)
    line.wait("smaller", "uvw", tail=10)
    line.wait("tiny", "t")
    assert line.next(0.2) == "larger"
