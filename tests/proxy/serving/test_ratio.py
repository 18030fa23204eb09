"""Bytes a token, learned."""

from __future__ import annotations

import pytest

from paceline.proxy.serving.ratio import START, TokenRatio


def test_unknown_model_has_the_usual_ratio() -> None:
    """Before the first answer there is nothing better."""
    assert TokenRatio().bytes_per_token("m") == START


def test_ratio_follows_the_prompts_of_its_model() -> None:
    """Long prompts weigh more, other models nothing, and the past fades."""
    ratio = TokenRatio()
    ratio.learn("m", 3000.0, 1000)
    ratio.learn("other", 10.0, 10)
    assert ratio.bytes_per_token("m") == 3.0
    for _ in range(500):
        ratio.learn("m", 2000.0, 1000)
    assert ratio.bytes_per_token("m") == pytest.approx(2.0, rel=0.01)


def test_nothing_is_learned_from_nothing() -> None:
    """Prompts of token ids alone, or of no tokens, say nothing about text."""
    ratio = TokenRatio()
    ratio.learn("m", 0.0, 10)
    ratio.learn("m", 10.0, 0)
    assert ratio.bytes_per_token("m") == START


@pytest.mark.parametrize(("tokens", "bound"), [(1, 16.0), (10**9, 0.5)])
def test_a_false_count_moves_the_ratio_to_its_bounds_at_most(tokens: int, bound: float) -> None:
    """An engine that counts wrongly leaves estimates that are wrong by a factor, not absurd."""
    ratio = TokenRatio()
    for _ in range(500):
        ratio.learn("m", 2000.0, tokens)
    assert ratio.bytes_per_token("m") == pytest.approx(bound)
