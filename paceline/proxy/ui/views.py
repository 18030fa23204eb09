"""What the dashboard shows, as JSON has it: bounded in size, with nothing of any prompt in it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from paceline.scheduler.picture import Picture
from paceline.scheduler.snapshot import BackendSnapshot


class Point(Struct, kw_only=True):
    """What ended in one slot of time; None where nothing tells."""

    at: float
    """Unix seconds at which the slot begins."""
    finished: int
    refused: int
    """For want of room: the queue, a limit, the memory, or the time is used up."""
    failed: int
    """By an engine, or on the way to it."""
    ttft_p50: float | None
    ttft_p90: float | None
    ttft_p99: float | None
    """Seconds from arrival to the first byte of streams."""
    predicted: float | None
    """Part of the prompt tokens that was believed cached, of requests with a report."""
    reported: float | None
    """Part of the prompt tokens that engines reported as cached."""


class Work(Struct, kw_only=True):
    """Sums over requests that ended."""

    ended: int = 0
    failed: int = 0
    declined: int = 0
    """Answered by an engine with a 4xx status."""
    retried: int = 0
    """Sent to another engine, or again."""
    prompt: int = 0
    """Prompt tokens of the requests whose cached tokens were reported; the next four likewise."""
    predicted: int = 0
    reported: int = 0
    missed: int = 0
    """Believed cached and not reported so."""
    unexpected: int = 0
    """Reported beyond the belief."""
    unreported: int = 0
    """Finished requests that came without a report."""


class BackendState(Struct, kw_only=True):
    """One backend now, and what ended there of late."""

    now: BackendSnapshot
    kind: str
    url: str
    recent: Work
    """Of the last `WINDOW_SECONDS`."""
    condition: Literal["ok", "idle", "full", "starving", "thrashing", "failing", "draining", "down"]
    """The most pressing one."""


class Decision(Struct, kw_only=True):
    """One decision of the scheduler."""

    at: float
    """Unix seconds."""
    id: str
    reason: str
    why: str
    backend: str = ""
    """Empty for a refusal."""
    model: str = ""
    tenant: str = ""
    family: str = ""
    waited: float = 0.0
    prompt_tokens: int | None = None
    predicted: int = 0
    reported: int | None = None
    """Cached tokens; None until the engine reported them."""
    ttft: float | None = None
    outcome: str = ""
    """Empty while it runs."""


class Failure(Struct, kw_only=True):
    """One request that failed."""

    at: float
    id: str
    status: int
    reason: str
    backend: str
    model: str
    attempts: int


class Finding(Struct, kw_only=True):
    """Something that a person should look at."""

    level: Literal["bad", "warn", "note"]
    text: str


class WhatIf(Struct, kw_only=True):
    """How to play what was recorded under other policies."""

    recording: str | None
    """The file that is being written; None without `--record`."""
    commands: list[str]
    report_at: float | None
    """Unix seconds when the report beside the recording was written; None without one."""


class Board(Struct, kw_only=True):
    """The whole answer of `/paceline/ui/state`."""

    at: float
    """Unix seconds."""
    version: str
    uptime_seconds: float
    policy: str
    waiting: int
    waiting_tokens: int
    max_waiting: int
    in_flight: int
    mean_wait_seconds: float
    findings: list[Finding]
    picture: Picture
    backends: list[BackendState]
    backend_count: int
    slot_seconds: float
    window_seconds: float
    recent: Work
    """Of all backends over the last `window_seconds`."""
    points: list[Point]
    decisions: list[Decision]
    failures: list[Failure]
    what_if: WhatIf
    took_ms: float
    """CPU time of the event loop that making this took."""
