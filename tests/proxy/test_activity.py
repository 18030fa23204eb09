"""Activity knows what runs where, and when a backend last spoke."""

from __future__ import annotations

from paceline.proxy.activity import Activity
from paceline.scheduler.events import Cancelled, Dispatch, Failed, Finished, FirstByte, Tick


def dispatch(id: str, backend: str) -> Dispatch:
    return Dispatch(id, backend, cached_tokens=0, waited=0.0, reason="direct")


def test_counts_from_dispatch_to_end() -> None:
    """Finished, failed and cancelled requests leave; others stay."""
    activity = Activity()
    activity.observe(Tick(), [dispatch(id, "a") for id in "1234"], 1.0)
    assert (activity.in_flight("a"), activity.in_flight("b")) == (4, 0)
    activity.observe(Finished("1"), [], 2.0)
    activity.observe(Failed("2"), [], 2.0)
    activity.observe(Cancelled("3"), [], 2.0)
    activity.observe(Cancelled("3"), [], 2.0)
    assert activity.in_flight("a") == 1


def test_a_retry_moves_the_request() -> None:
    """After a failure the request counts where it went next."""
    activity = Activity()
    activity.observe(Tick(), [dispatch("1", "a")], 1.0)
    activity.observe(Failed("1", retry=True), [dispatch("1", "b")], 2.0)
    assert (activity.in_flight("a"), activity.in_flight("b")) == (0, 1)


def test_remembers_the_last_sign_of_life() -> None:
    """First bytes and ends are signs of life; failures are none."""
    activity = Activity()
    activity.observe(Tick(), [dispatch("1", "a"), dispatch("2", "a")], 1.0)
    assert activity.last_byte_at("a") is None
    activity.observe(FirstByte("1"), [], 2.0)
    assert activity.last_byte_at("a") == 2.0
    activity.observe(Failed("2"), [], 3.0)
    assert activity.last_byte_at("a") == 2.0
    activity.observe(Finished("1"), [], 4.0)
    assert activity.last_byte_at("a") == 4.0
