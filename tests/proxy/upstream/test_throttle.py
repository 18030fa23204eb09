"""How fast a backend gets its requests back."""

from __future__ import annotations

from paceline.proxy.upstream.throttle import LOAD_TOKENS, Throttle


def test_there_is_no_limit_at_first() -> None:
    """Nor any load that nobody reported."""
    assert Throttle().limit(0.0) is None
    assert Throttle().load_tokens(0.0) == 0


def test_a_backend_that_returned_starts_with_one_request() -> None:
    """Each second may double that, until nothing is left of the limit."""
    one = Throttle()
    one.returned(100.0)
    assert [one.limit(100.0 + second) for second in (0.0, 0.9, 1.0, 2.0, 5.0, 9.9)] == [
        1, 1, 2, 4, 32, 512,
    ]  # fmt: skip
    assert one.limit(110.0) is None
    assert one.limit(0.0) is None, "it is over for good"


def test_a_refusal_is_a_measure_of_what_fits() -> None:
    """While its Retry-After lasts it has what it had, then more."""
    one = Throttle()
    one.refused(0.0, in_flight=8, retry_after=3.0)
    assert [one.limit(at) for at in (0.0, 3.0, 4.0)] == [8, 8, 16]
    assert [one.load_tokens(at) for at in (0.0, 2.9, 3.0)] == [LOAD_TOKENS, LOAD_TOKENS, 0]


def test_a_refusal_never_stops_a_backend() -> None:
    """One request may always go there, and a long Retry-After is minded for ten seconds."""
    one = Throttle()
    one.refused(0.0, in_flight=0, retry_after=3600.0)
    assert [one.limit(at) for at in (0.0, 10.0, 11.0)] == [1, 1, 2]
    assert one.load_tokens(10.0) == 0


def test_refusals_do_not_raise_a_lower_limit() -> None:
    """What is in flight may be older than the limit."""
    one = Throttle()
    one.refused(0.0, in_flight=2, retry_after=None)
    one.refused(0.5, in_flight=9, retry_after=None)
    assert one.limit(0.5) == 2
