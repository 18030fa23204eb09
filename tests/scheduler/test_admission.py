"""Admission: bounds, deadlines, and honest advice about coming back."""

from __future__ import annotations

import pytest

from paceline.scheduler.admission import Admission
from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.entry import Entry
from tests.scheduler.dialogue import request


def test_retry_after_follows_the_drain() -> None:
    """A tenth of the queue at the recent pace, between one second and one minute."""
    admission = Admission(SchedulerConfig())
    assert admission.retry_after(0.0) == 1.0
    for number in range(100):
        admission.enter(Entry(request(str(number)), number))
    for instant in range(20):
        admission.served(instant * 0.5)
    assert admission.retry_after(9.5) == pytest.approx(5.0)
    assert admission.retry_after(11.5) == pytest.approx(20.0)
    assert admission.retry_after(1000.0) == 60.0


def test_one_that_came_back_is_listed_once() -> None:
    """A retried request has two deadlines in the heap and expires once."""
    admission = Admission(SchedulerConfig(queue_seconds=5.0))
    entry = Entry(request("a"), 0)
    admission.enter(entry)
    admission.leave(entry)
    admission.enter(entry)
    assert admission.pop_expired(4.0) is None
    assert admission.pop_expired(5.0) is entry
    entry.waiting = False
    assert admission.pop_expired(5.0) is None
