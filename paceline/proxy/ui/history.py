"""What ended in the last half hour, in slots of ten seconds: TTFT, predictions, failures."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from paceline.proxy.telemetry.record import Record
from paceline.proxy.ui.quantiles import Durations
from paceline.proxy.ui.views import Point, Work

SLOT_SECONDS = 10.0
SLOTS = 180
"""Half an hour: longer is what Prometheus is for."""
WINDOW_SECONDS = 300.0
"""What counts as recent: as long as the log's and the alerts' usual five minutes."""
CROWDED = frozenset(("connections", "deadline", "memory"))
"""Reasons of a 503 that say that there is too much to do, as any 429 does; nothing is broken."""
BROKEN = (500, 502, 503, 504)


class Slot:
    """The requests that ended in one slot."""

    __slots__ = ("_point", "at", "durations", "finished", "refused", "work")

    def __init__(self, at: float) -> None:
        self.at = at
        """Seconds on the loop's clock at which it begins."""
        self.durations = Durations()
        self.finished = 0
        self.refused = 0
        self.work: dict[str, Work] = {}
        """By backend; empty for what reached none."""
        self._point: Point | None = None

    def add(self, record: Record) -> None:
        """One more request; its outcome, its first byte, its cached tokens."""
        outcome, status, work = record.outcome, record.status, self.work.get(record.backend)
        if work is None:
            work = self.work[record.backend] = Work()
        work.ended += 1
        if record.attempts > 1:
            work.retried += 1
        if is_failure(record):
            work.failed += 1
        elif outcome == "failed":
            work.declined += 1
        elif outcome == "finished":
            self.finished += 1
            if record.dispatched_at is not None:
                _compare(work, record)
        elif status == 429 or record.reason in CROWDED:
            self.refused += 1
        if record.streaming and record.first_byte_at is not None:
            self.durations.add(record.first_byte_at - record.arrived_at)

    def point(self, offset: float, *, closed: bool) -> Point:
        """What is drawn of it; `offset` makes Unix seconds of the loop's."""
        if self._point is None or not closed:
            work = total(self.work.values())
            self._point = Point(
                at=round(self.at + offset, 1),
                finished=self.finished,
                refused=self.refused,
                failed=work.failed,
                ttft_p50=self.durations.quantile(0.5),
                ttft_p90=self.durations.quantile(0.9),
                ttft_p99=self.durations.quantile(0.99),
                predicted=round(work.predicted / work.prompt, 4) if work.prompt else None,
                reported=round(work.reported / work.prompt, 4) if work.prompt else None,
            )
        return self._point


class History:
    """The slots; `add` takes about a microsecond. Slots in which nothing ended are not kept."""

    def __init__(self) -> None:
        self._slots: deque[Slot] = deque()
        self._until = 0.0

    def add(self, record: Record) -> None:
        """A request ended."""
        now = record.ended_at or 0.0
        if now >= self._until:
            start = now // SLOT_SECONDS * SLOT_SECONDS
            self._until = start + SLOT_SECONDS
            self._slots.append(Slot(start))
            if len(self._slots) > SLOTS:
                self._slots.popleft()
        self._slots[-1].add(record)

    def points(self, now: float, offset: float) -> list[Point]:
        """The last `SLOTS` slots, oldest first."""
        since = now - SLOTS * SLOT_SECONDS
        slots = [slot for slot in self._slots if slot.at > since]
        return [slot.point(offset, closed=slot is not self._slots[-1]) for slot in slots]

    def recent(self, now: float) -> dict[str, Work]:
        """Sums of the last `WINDOW_SECONDS`, by backend."""
        works: dict[str, list[Work]] = {}
        for slot in self._slots:
            if slot.at > now - WINDOW_SECONDS:
                for backend, work in slot.work.items():
                    works.setdefault(backend, []).append(work)
        return {backend: total(each) for backend, each in works.items()}


def is_failure(record: Record) -> bool:
    """Whether an engine or the way to it failed a request; a 4xx is the client's, or a refusal."""
    if record.outcome == "failed":
        return not 400 <= record.status < 500
    return record.status in BROKEN and record.reason not in CROWDED


def total(works: Iterable[Work]) -> Work:
    """The sum of all."""
    each = list(works)
    return Work(**{name: sum(getattr(w, name) for w in each) for name in Work.__struct_fields__})


def _compare(work: Work, record: Record) -> None:
    """What was believed against what was reported; many streams end without a report."""
    usage, predicted = record.usage, record.cached_tokens
    reported = usage.cached_tokens
    if reported is None:
        work.unreported += 1
        return
    work.prompt += usage.prompt_tokens or record.prompt_tokens
    work.predicted += predicted
    work.reported += reported
    if predicted > reported:
        work.missed += predicted - reported
    else:
        work.unexpected += reported - predicted
