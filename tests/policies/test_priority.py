"""Tiers, and climbing them."""

from __future__ import annotations

from paceline.policies.priority import Priority
from tests.policies.lineup import LineUp


def test_the_highest_tier_goes_first() -> None:
    """In a tier, who came first."""
    line = LineUp(Priority())
    for id, priority in [("low", -1), ("mid1", 0), ("high", 5), ("mid2", 0)]:
        line.wait(id, priority=priority)
    assert line.all(0.2) == "high mid1 mid2 low"


def test_waiting_climbs() -> None:
    """After two waits of 10 s a request counts two tiers higher, and goes before newer equals."""
    line = LineUp(Priority(climb_seconds=10.0))
    line.wait("low", at=1.0, priority=0)
    line.wait("high", at=20.9, priority=2)
    assert line.next(20.9) == "high", "at 20.9 s it had climbed one"
    line.wait("higher", at=21.0, priority=2)
    assert line.next(21.0) == "low", "at 21 s two"
