"""How long an engine's forward pass takes."""

from __future__ import annotations

from msgspec import Struct


class Work(Struct):
    """What one step computes, summed over its sequences."""

    tokens: int = 0
    """All tokens, prefill and decode."""
    prefill_tokens: int = 0
    area: float = 0.0
    """Attention area of the prefills: new tokens times the tokens that each attends to."""
    decodes: int = 0
    context: int = 0
    """KV tokens that the decodes read."""
    longest: int = 0
    """Longest prefill of the batch."""
    cached: int = 0
    """KV tokens before the prefills, summed."""
    cross: int = 0
    """The part of `area` that is new tokens times those before them."""

    def prefill(self, new: int, before: int, sign: int = 1) -> None:
        """Add (sign -1: take back) `new` tokens of a sequence that has `before` tokens in KV."""
        self.tokens += sign * new
        self.prefill_tokens += sign * new
        self.area += sign * new * (before + new / 2)
        self.cached += sign * before
        self.cross += sign * new * before
        self.longest = max(self.longest, new)

    def decode(self, context: int, sign: int = 1) -> None:
        """Add (sign -1: take back) one decoding sequence with `context` tokens in KV."""
        self.tokens += sign
        self.decodes += sign
        self.context += sign * context


class StepTime(Struct, frozen=True, kw_only=True):
    """Coefficients, in microseconds, of `s*(c0 + (tw^8+(k*N)^8)^(1/8) + a*area + b*B + g*context)`.

    `tw` is the floor of streaming the weights and `k` the compute cost of a token, so that the knee
    `tw/k` between memory-bound and compute-bound comes out by itself.
    """

    c0: float
    tw: float
    k: float
    a: float
    b: float
    g: float
    s: float = 1.0
    """Calibration: measured over predicted time."""
    pad: int = 0
    """When not 0, each prefill of a batch reads its cached part as if it were as long as the
    longest of the batch, rounded up to `pad`: so did SGLang 0.5.16's triton prefill on an H100."""

    def seconds(self, work: Work) -> float:
        """Seconds that a step with `work` takes."""
        dense: float = (self.tw**8 + (self.k * work.tokens) ** 8) ** 0.125
        attention = self.a * self._area(work) + self.b * work.decodes + self.g * work.context
        return self.s * (self.c0 + dense + attention) * 1e-6

    def ahead(self, work: Work, steps: int) -> list[float]:
        """Seconds of each of the `steps` steps after `work`, a step that only decodes: as `seconds`
        says, to the last bit, of contexts that grow by a token each step."""
        dense: float = (self.tw**8 + (self.k * work.tokens) ** 8) ** 0.125
        batch = self.b * work.decodes
        first = work.context + work.decodes
        contexts = range(first, first + steps * work.decodes, work.decodes)
        return [
            self.s * (self.c0 + dense + (batch + self.g * context)) * 1e-6 for context in contexts
        ]

    def _area(self, work: Work) -> float:
        if not self.pad:
            return work.area
        padded = -(-work.longest // self.pad) * self.pad
        return work.area - work.cross + padded * work.cached
