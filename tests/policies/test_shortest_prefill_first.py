"""Fewest uncached tokens first."""

from __future__ import annotations

from paceline.policies.shortest_prefill_first import ShortestPrefillFirst
from tests.policies.lineup import LineUp


def test_size_is_what_is_not_cached() -> None:
    """A long prompt that is cached goes before a short one that is not."""
    line = LineUp(ShortestPrefillFirst())
    line.wait("middle", "xy")
    line.wait("short", "z")
    line.wait("warm", "ABCD")
    assert line.all(0.2) == "warm short middle"


def test_a_long_one_goes_when_overdue() -> None:
    """Ageing: short ones do not pass it for ever."""
    line = LineUp(ShortestPrefillFirst())
    line.wait("long", "uvwxyz")
    line.wait("short", "", at=8.9)
    assert line.all(9.0) == "long short"
