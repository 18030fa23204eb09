"""What the scheduler learns from the stream of events: means that forget, and answer lengths."""

from __future__ import annotations

from paceline.scheduler.types import Usage

SLACK = 256
"""Tokens by which fewer may be reported as cached than were predicted, and nothing follows: two base
blocks, or an engine's own block; the last one of a prompt is computed again even if it is cached."""
SLACK_PART = 8
"""And one part in so many of the prediction, which rests on an estimate of bytes a token."""


class Mean:
    """Exponential moving mean: the last `memory` samples weigh about two thirds."""

    __slots__ = ("_weight", "count", "value")

    def __init__(self, value: float, memory: int = 32) -> None:
        self.value = value
        self.count = 0
        self._weight = 1.0 / memory

    def add(self, sample: float) -> None:
        """Take one sample; the first few weigh more, so that the initial value fades at once."""
        self.count += 1
        self.value += (sample - self.value) * max(self._weight, 1.0 / self.count)


class OutputLengths:
    """How long answers get, by model: mean plus mean deviation, so that most fit."""

    def __init__(self, initial: int) -> None:
        self._initial = initial
        self._seen: dict[str, tuple[Mean, Mean]] = {}

    def add(self, model: str, tokens: int) -> None:
        """An answer of `model` had so many tokens a choice."""
        mean, deviation = self._seen.setdefault(model, (Mean(0.0), Mean(0.0)))
        mean.add(tokens)
        deviation.add(abs(tokens - mean.value))

    def expect(self, model: str, max_tokens: int | None) -> int:
        """Tokens to expect of one answer, never more than the client's limit."""
        seen = self._seen.get(model)
        tokens = self._initial if seen is None else int(seen[0].value + seen[1].value) + 1
        return tokens if max_tokens is None else min(tokens, max_tokens)


def shortfall(predicted: int, prompt_tokens: int, usage: Usage) -> int | None:
    """How much was cached, in the scheduler's tokens, where that is far less than predicted.

    The engine counts true tokens, the scheduler's are estimated: `prompt_tokens` is the prompt's
    length by the same estimate. None where the prediction held or nothing was reported.
    """
    cached = usage.cached_tokens
    if cached is None or cached >= predicted:
        return None
    if usage.prompt_tokens:
        cached = cached * prompt_tokens // usage.prompt_tokens
    slack = max(SLACK, predicted // SLACK_PART)
    return cached + slack if cached + slack < predicted else None
