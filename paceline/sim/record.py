"""Writes down what happened to every request, and now and then how the engines stood."""

from __future__ import annotations

from msgspec import Struct

from paceline.scheduler.events import (
    Action,
    Arrived,
    Dispatch,
    Event,
    Failed,
    Finished,
    FirstByte,
)
from paceline.sim.workload import Turn


class Row(Struct, kw_only=True, gc=False):
    """One request; times in seconds since the start of the run, None for what did not happen."""

    id: str
    arrival: float
    dispatched: float | None = None
    first: float | None = None
    """When its first token came out."""
    last: float | None = None
    """When its last token came out; None when it was refused or failed."""
    prompt: int
    """Prompt tokens."""
    out: int = 0
    """Output tokens made."""
    cached: int = 0
    """Prompt tokens that the engine had in its cache."""
    backend: str = ""
    family: str = ""
    tenant: str = ""
    reason: str = ""
    """Why it went when it did, or was refused: a key of `scheduler.choice.REASONS`."""


class Sample(Struct, gc=False):
    """One backend at one instant; the counters are totals so far."""

    time: float
    backend: str
    queued: int
    """Requests that wait in the proxy, for any backend."""
    running: int
    waiting: int
    """In the engine itself."""
    kv_used: int
    hit_tokens: int
    query_tokens: int


class Recorder:
    """Keeps the rows of one run, in order of arrival."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.samples: list[Sample] = []
        self.queued = 0
        """Requests that wait in the proxy now."""
        self._open: dict[str, Row] = {}

    def arrived(self, event: Arrived, turn: Turn, now: float) -> None:
        """A request reached the proxy."""
        row = Row(
            id=event.request.id,
            arrival=now,
            prompt=len(turn.prompt),
            family=turn.family,
            tenant=turn.tenant,
        )
        self.rows.append(row)
        self._open[row.id] = row
        self.queued += 1

    def fed(self, event: Event, now: float) -> None:
        """Note the times of what the engine brought."""
        match event:
            case FirstByte(id):
                self._open[id].first = now
            case Finished(id, usage):
                row = self._open.pop(id)
                row.last = now
                row.out = usage.output_tokens or 0
                row.cached = usage.cached_tokens or 0
            case Failed(id):
                self._open.pop(id).reason = "too_long"
            case _:
                pass

    def decided(self, action: Action, now: float) -> None:
        """Note where a request went, or that it was refused."""
        self.queued -= 1
        row = self._open[action.id]
        row.reason = action.reason
        if isinstance(action, Dispatch):
            row.dispatched = now
            row.backend = action.backend
        else:
            del self._open[action.id]
