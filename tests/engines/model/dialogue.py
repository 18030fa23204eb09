"""Words for dialogues with an engine model: make a request, play to the end, read what came."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from paceline.engines.model.engine import Engine, EngineConfig, Output, SequenceRequest, Step
from paceline.engines.model.steptime import StepTime

FLAT = StepTime(c0=1e6, tw=0, k=0, a=0, b=0, g=0)
"""Every step takes one second."""


def config(kind: str, **fields: object) -> EngineConfig:
    """An engine of `kind` with one-second steps and room for 1,000 tokens."""
    base = {"kind": kind, "time": FLAT, "kv_tokens": 1000} | fields
    return msgspec.convert(base, EngineConfig)


def ask(
    name: str, prompt: Sequence[int], output_tokens: int = 1, **fields: object
) -> SequenceRequest:
    """A request whose `max_tokens` is its true length."""
    base = {"id": name, "output_tokens": output_tokens, "max_tokens": output_tokens} | fields
    return SequenceRequest(prompt=prompt, **base)  # type: ignore[arg-type]


def add(engine: Engine, *requests: SequenceRequest) -> None:
    """Queue `requests` at time 0."""
    for request in requests:
        engine.add(request, 0.0)


def drain(engine: Engine, now: float = 0.0) -> list[Step]:
    """Play until nothing is left to do."""
    steps: list[Step] = []
    while (step := engine.step(now)) is not None:
        steps.append(step)
        now += step.duration
    return steps


def outputs(steps: list[Step]) -> list[Output]:
    """All tokens, in the order they came."""
    return [output for step in steps for output in step.outputs]


def cached(steps: list[Step]) -> dict[str, int]:
    """Cached tokens of each request."""
    return {output.request_id: output.cached_tokens for output in outputs(steps)}


def finished(steps: list[Step]) -> list[str]:
    """Ids in the order in which they ended, once a choice."""
    return [output.request_id for output in outputs(steps) if output.finished]


def prefills(steps: list[Step]) -> list[int]:
    """Prefill tokens of each step."""
    return [step.prefill_tokens for step in steps]
