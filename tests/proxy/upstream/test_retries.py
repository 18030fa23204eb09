"""How many retries there may be in all."""

from __future__ import annotations

from paceline.proxy.upstream.retries import MOST, PER_SECOND, SHARE, RetryBudget


def spent(budget: RetryBudget, now: float) -> int:
    """How many retries were left."""
    count = 0
    while budget.spend(now):
        count += 1
    return count


def test_budget_runs_out_and_comes_back_with_time() -> None:
    """Ten a second, and never more than are saved up."""
    budget = RetryBudget(0.0)
    assert spent(budget, 0.0) == MOST
    assert spent(budget, 1.0) == PER_SECOND
    assert spent(budget, 1000.0) == MOST


def test_requests_earn_retries() -> None:
    """One for every five requests."""
    budget = RetryBudget(0.0)
    spent(budget, 0.0)
    for _ in range(round(10 / SHARE)):
        budget.earn()
    assert spent(budget, 0.0) in (9, 10)  # fifths do not add up exactly
