"""The facts of one request, filled in on its way through; the log line and the metrics read it."""

from __future__ import annotations

from msgspec import Struct

from paceline.scheduler.types import Usage


class Record(Struct):
    """Instants are seconds on the loop's clock; None until they happen."""

    id: str
    path: str
    arrived_at: float = 0.0
    model: str = ""
    tenant: str = ""
    priority: int = 0
    streaming: bool = False
    prompt_tokens: int = 0
    dispatched_at: float | None = None
    first_byte_at: float | None = None
    deadline: float | None = None
    """When the client stops to want it."""
    ended_at: float | None = None
    backend: str = ""
    reason: str = ""
    """Why it was dispatched when it was, or why it was rejected."""
    queued: float = 0.0
    """Seconds in the queue."""
    cached_tokens: int = 0
    """The prediction."""
    attempts: int = 0
    status: int = 0
    outcome: str = ""
    """`finished`, `rejected`, `cancelled` or `failed`."""
    usage: Usage = Usage()
