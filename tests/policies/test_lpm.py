"""Longest prefix match first, and its bound."""

from __future__ import annotations

from paceline.policies.lpm import Lpm
from tests.policies.lineup import LineUp


def test_longest_match_goes_first() -> None:
    """And again as dispatches change what is cached."""
    line = LineUp(Lpm())
    for id, prefix in [("x1", "x"), ("y1", "y"), ("y2", "y"), ("x2", "x"), ("A", "ABq")]:
        line.wait(id, prefix)
    assert line.all(0.2) == "A x1 x2 y1 y2"


def test_an_overdue_request_respects_tiers() -> None:
    """Who waited too long goes before its own tier, not before a higher one."""
    line = LineUp(Lpm())
    line.wait("cold", "xyz")
    line.wait("warm", "AB", at=8.9)
    line.wait("high", "pqr", at=8.9, priority=1)
    assert line.all(9.0) == "high cold warm"
