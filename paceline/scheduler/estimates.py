"""What the scheduler learns from the stream of events: means that forget, and answer lengths."""

from __future__ import annotations


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
        weight = 1.0 / self.count
        self.value += (sample - self.value) * (weight if weight > self._weight else self._weight)


class OutputLengths:
    """How long answers get, by model: mean plus mean deviation, so that most fit."""

    def __init__(self, initial: int) -> None:
        self._initial = initial
        self._seen: dict[str, tuple[Mean, Mean]] = {}

    def add(self, model: str, tokens: int) -> None:
        """An answer of `model` had so many tokens a choice."""
        seen = self._seen.get(model)
        if seen is None:
            seen = self._seen[model] = (Mean(0.0), Mean(0.0))
        mean, deviation = seen
        mean.add(tokens)
        deviation.add(abs(tokens - mean.value))

    def expect(self, model: str, max_tokens: int | None) -> int:
        """Tokens to expect of one answer, never more than the client's limit."""
        seen = self._seen.get(model)
        tokens = self._initial if seen is None else int(seen[0].value + seen[1].value) + 1
        return tokens if max_tokens is None or tokens < max_tokens else max_tokens
