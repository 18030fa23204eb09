"""Highest response ratio next, on a clock of prefill tokens."""

from __future__ import annotations

from paceline.policies.hrrn import Hrrn
from tests.policies.lineup import LineUp


def test_short_ones_go_first_until_long_ones_have_waited() -> None:
    """`long` (610 uncached) came at token 410. After 310 more its ratio is 310/610, and that of
    `short` (110, just come) is 0; another 110 later a fresh one is passed as well."""
    line = LineUp(Hrrn(max_wait_factor=1e9))
    line.wait("long", "uvwxyz")
    line.wait("first", "pqr")
    assert line.next(0.2) == "long", "nothing was processed since: all ratios are 0, the oldest goes"
    line.wait("short", "s", at=0.25)
    assert line.next(0.3) == "first", "610 of 310 tokens against 610 of 110... of who came before"


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
