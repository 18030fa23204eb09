"""Records of requests that ended, in a line each."""

from __future__ import annotations

from paceline.proxy.telemetry.record import Record
from paceline.scheduler.types import Usage


def ended(id: str = "r", at: float = 0.0, **more: object) -> Record:
    """A stream that `b` answered in a second, the first byte after a tenth, ending at `at`."""
    facts: dict[str, object] = {
        "id": id,
        "path": "/v1/chat/completions",
        "model": "m",
        "streaming": True,
        "prompt_tokens": 1000,
        "arrived_at": at - 1.0,
        "dispatched_at": at - 1.0,
        "first_byte_at": at - 0.9,
        "ended_at": at,
        "backend": "b",
        "reason": "warm",
        "cached_tokens": 600,
        "attempts": 1,
        "status": 200,
        "outcome": "finished",
        "usage": Usage(prompt_tokens=1000, cached_tokens=500, output_tokens=10),
    }
    return Record(**(facts | more))  # type: ignore[arg-type]
