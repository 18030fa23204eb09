"""Pauses between restarts, and the end of patience."""

from __future__ import annotations

from paceline.up.backoff import Backoff
from paceline.up.config import UpConfig

CONFIG = UpConfig(restart_seconds=1, max_restart_seconds=5, max_crashes=5, steady_seconds=100)


def test_pauses_double_up_to_a_limit_and_then_it_is_given_up() -> None:
    """Five ends in a row are the last."""
    backoff = Backoff(CONFIG)
    assert [backoff.ended(3.0) for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, None]


def test_an_engine_that_has_served_long_starts_anew() -> None:
    """An end after days is not the fifth of a bad morning."""
    backoff = Backoff(CONFIG)
    assert [backoff.ended(served) for served in (0.0, 99.0, 100.0, 0.0)] == [1.0, 2.0, 1.0, 2.0]
