"""The last decisions and the last failures, and what became of them."""

from __future__ import annotations

from collections import deque

from paceline.proxy.telemetry.log import WHY
from paceline.proxy.telemetry.record import Record
from paceline.proxy.ui.history import is_failure
from paceline.proxy.ui.views import Decision, Failure
from paceline.scheduler.entry import Entry
from paceline.scheduler.events import Action, Dispatch
from paceline.scheduler.picture import Inspector, family_key, short

DECISIONS = 60
FAILURES = 20
ENDED = 600
"""Records in which the decisions' ends are looked up: the last decisions end among these unless ten
times as many others end before them."""

Made = tuple[float, Action, Entry | None]


class Ledger:
    """Keeps references and makes sense of them when somebody looks."""

    def __init__(self, inspector: Inspector) -> None:
        self._entry = inspector.entry
        self._made: deque[Made] = deque(maxlen=DECISIONS)
        self._ended: deque[Record] = deque(maxlen=ENDED)
        self._failed: deque[Record] = deque(maxlen=FAILURES)

    def decided(self, actions: list[Action], now: float) -> None:
        """The scheduler decided this at `now`; half a microsecond each."""
        for action in actions:
            self._made.append((now, action, self._entry(action.id)))

    def ended(self, record: Record) -> None:
        """A request ended."""
        self._ended.append(record)
        if record.outcome == "failed" or is_failure(record):
            self._failed.append(record)

    def decisions(self, offset: float) -> list[Decision]:
        """The last ones, newest first; `offset` makes Unix seconds of the loop's."""
        records = {record.id: record for record in self._ended}
        return [
            _decision(at + offset, action, entry, records.get(action.id))
            for at, action, entry in reversed(self._made)
        ]

    def failures(self, offset: float) -> list[Failure]:
        """The last ones, newest first."""
        return [_failure(record, offset) for record in reversed(self._failed)]


def _decision(at: float, action: Action, entry: Entry | None, record: Record | None) -> Decision:
    made = Decision(at=at, id=action.id, reason=action.reason, why=WHY.get(action.reason, ""))
    if isinstance(action, Dispatch):
        made.backend, made.waited, made.predicted = (
            action.backend,
            action.waited,
            action.cached_tokens,
        )
    if entry is not None:
        made.family = family_key(entry)
        request = entry.request
        made.model, made.tenant = short(request.model), short(request.tenant)
        made.prompt_tokens = request.prompt_tokens
    if record is not None:
        _complete(made, record)
    return made


def _complete(made: Decision, record: Record) -> None:
    """What the end told."""
    made.model, made.tenant = short(record.model), short(record.tenant)
    made.prompt_tokens = record.usage.prompt_tokens or record.prompt_tokens
    made.reported = record.usage.cached_tokens
    made.outcome = record.outcome
    if record.first_byte_at is not None:
        made.ttft = record.first_byte_at - record.arrived_at


def _failure(record: Record, offset: float) -> Failure:
    return Failure(
        at=(record.ended_at or 0.0) + offset,
        id=record.id,
        status=record.status,
        reason=record.reason,
        backend=record.backend,
        model=short(record.model),
        attempts=record.attempts,
    )
