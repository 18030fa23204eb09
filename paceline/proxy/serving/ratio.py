"""Learns how many bytes of prompt make a token, per model, from the usage that engines report."""

from __future__ import annotations

START = 4.0
"""Bytes a token before anything is known: the usual figure for English text."""
LEAST, MOST = 0.5, 16.0
"""Bytes a token that one prompt can show: random bytes have 1, with a chat template around a few
words less, runs of white space most. An engine that counts wrongly moves the ratio no further."""
MEMORY = 0.98
"""Weight kept of what was learned before: about the last 50 requests count."""


class TokenRatio:
    """One ratio a model."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, float]] = {}

    def bytes_per_token(self, model: str) -> float:
        """The ratio for `model`."""
        size, tokens = self._sums.get(model, (START, 1.0))
        return size / tokens

    def learn(self, model: str, size: float, tokens: int) -> None:
        """A prompt of `size` bytes had `tokens` tokens."""
        if size > 0 and tokens > 0:
            counted: float = tokens
            if not LEAST <= size / tokens <= MOST:
                counted = min(max(tokens, size / MOST), size / LEAST)
            old_size, old_tokens = self._sums.get(model, (0.0, 0.0))
            self._sums[model] = (old_size * MEMORY + size, old_tokens * MEMORY + counted)
