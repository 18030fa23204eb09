"""Every waiting request is as likely as any other, at every decision."""

from __future__ import annotations

from collections import Counter

from paceline.policies.random import Random
from paceline.scheduler.events import Cancelled
from tests.policies.lineup import LineUp


def test_old_and_new_are_equally_likely() -> None:
    """With three waiting and one arriving for each served, the places served are uniform: that of
    the newest among them, which a key drawn once and for all would favour."""
    policy = Random()
    line = LineUp(policy)
    waiting = ["a", "b"]
    for id in waiting:
        line.wait(id)
    places: Counter[int] = Counter()
    for number in range(3000):
        waiting.append(f"n{number}")
        line.wait(f"n{number}", at=1.0 + number)
        chosen = line.next(1.0 + number)
        places[waiting.index(chosen)] += 1
        waiting.remove(chosen)
    assert all(900 < places[place] < 1100 for place in range(3)), places


def test_numbers_are_forgotten() -> None:
    """Who left has none."""
    policy = Random()
    line = LineUp(policy)
    line.wait("a")
    line.wait("b")
    line.talk.say(Cancelled("a"), 0.15)
    assert line.all(0.2) == "b"
    assert not policy._keys
