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
    shared: int = 0
    """Those of them that another sequence of the step has read before."""
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
    """Coefficients, in microseconds, of `s*(c0 + (tw^8+(k*N)^8)^(1/8) + a*area + b*B + g*read)`.

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

    again: float = 0.45
    """What of the cost of a KV token falls away when the step has read it before: then it comes
    from the L2 cache, on an H100 at about 6 TB/s, and not from memory at 3.35."""
    eager: float = 0.0
    """Microseconds more of a step with prefills, where only those that decode alone are CUDA graphs
    and the kernels of the others are launched one by one."""
    host: float = 0.0
    """Microseconds of the host's CPU for each sequence that decodes. They pass while the GPU
    computes, so they are the least that a step of a large batch takes. Not scaled by `s`."""

    def seconds(self, work: Work) -> float:
        """Seconds that a step with `work` takes."""
        dense = self._dense(work.tokens)
        read = work.context - self.again * work.shared
        attention = self.a * self._area(work) + self.b * work.decodes + self.g * read
        eager = self.eager if work.prefill_tokens else 0.0
        step = self.s * (self.c0 + eager + dense + attention)
        return max(step, self.host * work.decodes) * 1e-6

    def ahead(self, work: Work, steps: int) -> list[float]:
        """Seconds of each of the `steps` steps after `work`, a step that only decodes: as `seconds`
        says, to the last bit, of contexts that grow by a token each step."""
        dense = self._dense(work.tokens)
        batch = self.b * work.decodes
        first = work.context + work.decodes
        contexts = range(first, first + steps * work.decodes, work.decodes)
        again = self.again * work.shared
        least = self.host * work.decodes
        s, c, g = self.s, self.c0 + dense, self.g
        ends = (contexts[0], contexts[-1]) if contexts else ()
        if all(s * (c + (batch + g * (end - again))) >= least for end in ends):  # so are all
            return [s * (c + (batch + g * (context - again))) * 1e-6 for context in contexts]
        return [
            max(s * (c + (batch + g * (context - again))), least) * 1e-6 for context in contexts
        ]

    def _dense(self, tokens: int) -> float:
        """Microseconds of all but attention."""
        dense: float = (self.tw**8 + (self.k * tokens) ** 8) ** 0.125
        return dense

    def _area(self, work: Work) -> float:
        if not self.pad:
            return work.area
        padded = -(-work.longest // self.pad) * self.pad
        return work.area - work.cross + padded * work.cached
