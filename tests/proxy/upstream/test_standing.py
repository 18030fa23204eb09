"""What a backend's answers do to its standing."""

from __future__ import annotations

import pytest

from paceline.proxy.upstream.standing import Standing


def healthy() -> Standing:
    standing = Standing()
    standing.healthy = True
    return standing


def answers(standing: Standing, status: int, times: int = 20, *advice: bytes) -> None:
    for _ in range(times):
        standing.answered(status, 0.0, 3, *advice)


@pytest.mark.parametrize("status", [200, 301, 400, 404, 413, 422, 429, 503])
def test_busy_engines_and_clients_mistakes_do_not_cost_a_backend(status: int) -> None:
    """Whatever it answers without being broken, it is not left."""
    standing = healthy()
    answers(standing, status)
    assert standing.usable(alone=False)


@pytest.mark.parametrize("status", [500, 502, 504])
def test_broken_engines_are_left(status: int) -> None:
    """Unless they are the last of their kind."""
    standing = healthy()
    answers(standing, status)
    assert not standing.usable(alone=False)
    assert standing.usable(alone=True)


def test_a_backend_that_does_not_answer_is_left_even_if_it_is_the_last() -> None:
    """Requests wait in the queue instead of being lost there."""
    standing = healthy()
    standing.hung = True
    assert not standing.usable(alone=True)
    standing.hung, standing.healthy = False, False
    assert not standing.usable(alone=True)


@pytest.mark.parametrize(
    ("advice", "until"),
    [(b"4", 4.0), (b"Wed, 21 Oct 2026 07:28:00 GMT", 1.0), (b"999999999", 1.0), (b"-3", 1.0)],
)
def test_retry_after_is_read(advice: bytes, until: float) -> None:
    """In seconds; anything else counts for one."""
    standing = healthy()
    answers(standing, 429, 1, advice)
    assert standing.throttle.load_tokens(until - 0.01)
    assert not standing.throttle.load_tokens(until)


def test_whoever_watches_hears_of_changes() -> None:
    """Of a refusal at once, of failures when they open the breaker."""
    standing, heard = healthy(), []
    standing.changed = lambda: heard.append(standing.breaker.open)
    answers(standing, 429, 1)
    answers(standing, 200, 1)
    answers(standing, 500, 5)
    assert heard == [False, True]
