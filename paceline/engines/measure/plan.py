"""What to measure at an engine, within what it can hold."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from paceline.engines.measure.measurement import Kind

LONE = (64, 256, 1024, 2048, 4096, 8192, 16384)
"""Prompts from where weights dominate to where attention shows."""
CACHED = ((1024, 512), (4096, 512), (8192, 1024), (16384, 1024))
"""What is cached and what is new."""
BURSTS = ((4, 1024), (16, 512), (64, 256))
DECODES = ((1, 128), (1, 8192), (8, 1024), (32, 1024), (32, 4096), (128, 128), (128, 1024))
SHARED = ((8, 4096), (32, 4096))
"""Decodes of a batch on one prefix of so many tokens."""
OWN = 64
"""Tokens of each prompt after the shared prefix."""
MIXED = ((1, 1024), (32, 512), (32, 1536), (128, 1024))
"""Decodes, and new tokens beside them: below 2,048 together with them, the smallest chunk that is a
default of either engine, so that one step takes them all."""
BESIDE = 1024
"""Context of those decodes."""
DECODED = 24
"""Tokens of every answer over which its pace is measured."""
SPARE = 0.9
"""Of the KV pool; what is left is for blocks that are not full."""
CHUNK = 2048
"""Prefill tokens a step, where the engine does not tell: the least default of either engine."""


class Limits(Struct, frozen=True, kw_only=True):
    """What the engine can hold; None where it does not tell."""

    context: int | None = None
    kv_tokens: int | None = None
    max_running: int | None = None
    chunk_tokens: int | None = None


class Point(Struct, frozen=True, kw_only=True):
    """One thing to measure."""

    kind: Kind
    batch: int
    prompt: int
    """Tokens of each prompt, all told."""
    cached: int = 0
    """Of them, sent before so that they are cached."""
    shared: int = 0
    new: int = 0
    output: int = 1
    """Tokens of each answer."""

    @property
    def prefill(self) -> int:
        """Tokens to be computed for it, all told."""
        own = self.batch * (self.prompt - self.shared) + self.shared
        return own + PROBES * self.new

    @property
    def held(self) -> int:
        """Tokens of KV at its end."""
        return self.prefill + self.batch * self.output


PROBES = 3
"""Prompts that are prefilled, one after the other, beside the same decodes."""


def plan(limits: Limits) -> list[Point]:
    """All that fits, cheap before dear: the first ones tell how long the others will take."""
    return [point for point in _points(limits.chunk_tokens or CHUNK) if _fits(point, limits)]


def _fits(point: Point, limits: Limits) -> bool:
    context = limits.context or LONE[-1] * 2
    return (
        max(point.prompt, point.new) + point.output <= context
        and (limits.kv_tokens is None or point.held <= SPARE * limits.kv_tokens)
        and (limits.max_running is None or point.batch + bool(point.new) <= limits.max_running)
    )


def _points(chunk: int) -> Iterator[Point]:
    for prompt in LONE:
        yield Point(kind="lone", batch=1, prompt=prompt)
    for cached, new in CACHED:
        yield Point(kind="lone", batch=1, prompt=cached + new, cached=cached)
    for batch, context in DECODES:
        yield Point(
            kind="decode", batch=batch, prompt=context, output=_paced(batch * context, chunk)
        )
    for batch, shared in SHARED:
        output = _paced(batch * OWN, chunk)
        prompt = shared + OWN
        yield Point(kind="decode", batch=batch, prompt=prompt, shared=shared, output=output)
    for batch, prompt in BURSTS:
        yield Point(kind="burst", batch=batch, prompt=prompt)
    for batch, new in MIXED:
        output = _paced(batch * BESIDE, chunk) + PROBES * DECODED
        yield Point(kind="mixed", batch=batch, prompt=BESIDE, new=new, output=output)


def _paced(prefill: int, chunk: int) -> int:
    """Tokens of an answer that still has `DECODED` to come when all others have their first."""
    return DECODED + 2 * -(-prefill // chunk)
