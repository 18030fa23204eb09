"""When a backend is left for its failures, for how long, and how it comes back."""

from __future__ import annotations

import pytest

from paceline.proxy.upstream.breaker import IN_A_ROW, LEAST, LONGEST_SECONDS, Breaker


def breaker() -> Breaker:
    """One without jitter."""
    return Breaker(lambda: 0.5)


def fail(one: Breaker, times: int, now: float = 0.0) -> list[bool]:
    return [one.failed(now) for _ in range(times)]


def test_five_failures_in_a_row_open_it() -> None:
    """The fifth one does."""
    assert fail(breaker(), IN_A_ROW) == [False] * (IN_A_ROW - 1) + [True]


def test_a_success_starts_the_row_anew() -> None:
    """A failure now and then is no reason."""
    one = breaker()
    for _ in range(20):
        assert fail(one, IN_A_ROW - 1) == [False] * (IN_A_ROW - 1)
        for _ in range(LEAST):
            one.succeeded()
    assert not one.open


def test_half_of_ten_within_ten_seconds_open_it() -> None:
    """Though no five came in a row."""
    one = breaker()
    for _ in range(LEAST // 2 - 1):
        assert fail(one, 1) == [False]
        one.succeeded()
    one.succeeded()
    assert fail(one, 1) == [True]


def test_old_failures_are_forgotten() -> None:
    """The window is ten seconds long."""
    one = breaker()
    for _ in range(LEAST // 2 - 1):
        fail(one, 1, now=0.0)
        one.succeeded()
    one.succeeded()
    assert fail(one, 1, now=10.0) == [False]


def test_it_stays_open_twice_as_long_each_time() -> None:
    """From a second up to a minute; a success in between starts from a second again."""
    one, now = breaker(), 0.0
    fail(one, IN_A_ROW, now)
    for seconds in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, LONGEST_SECONDS, LONGEST_SECONDS):
        assert not one.due(now + seconds - 0.01)
        now += seconds
        assert one.due(now)
        one.half_open()
        assert not one.open
        assert fail(one, 1, now) == [True], "half open, one failure is enough"
    one.half_open()
    one.succeeded()
    fail(one, IN_A_ROW, now)
    assert one.due(now + 1.0)


def test_it_cannot_get_stuck_half_open() -> None:
    """A trial that never comes to an end keeps nobody away, and the next result decides."""
    one = breaker()
    fail(one, IN_A_ROW)
    one.half_open()
    assert one.trial
    assert not one.open
    assert not one.due(1e9)
    one.succeeded()
    assert not one.trial


def test_a_failed_try_of_the_proxys_own_keeps_it_open() -> None:
    """For twice as long."""
    one = breaker()
    fail(one, IN_A_ROW)
    one.again(1.0)
    assert not one.due(2.9)
    assert one.due(3.0)


def test_failures_while_it_is_open_change_nothing() -> None:
    """Requests that were under way when it opened still fail."""
    one = breaker()
    fail(one, IN_A_ROW)
    assert fail(one, 50, now=0.9) == [False] * 50
    assert one.due(1.0)


@pytest.mark.parametrize(("drawn", "seconds"), [(0.0, 0.8), (1.0, 1.2)])
def test_jitter(drawn: float, seconds: float) -> None:
    """A fifth more or less."""
    one = Breaker(lambda: drawn)
    fail(one, IN_A_ROW)
    assert not one.due(seconds - 0.01)
    assert one.due(seconds + 0.01)
