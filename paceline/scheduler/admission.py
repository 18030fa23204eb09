"""Who may enter the queue, who has waited too long, and when it is worth coming back."""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush

from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.entry import Entries, Entry
from paceline.scheduler.estimates import Mean
from paceline.scheduler.events import Reject
from paceline.scheduler.types import Request

MIN_RETRY = 1.0
MAX_RETRY = 60.0
"""Seconds: bounds of the advice, as `Retry-After` counts whole seconds and queues change."""


class Admission:
    """Counts what waits; keeps the waiting requests' deadlines in a heap."""

    def __init__(self, config: SchedulerConfig) -> None:
        self.waiting = 0
        self.waiting_tokens = 0
        self._config = config
        self._by_priority: dict[int, Entries] = {}
        """Who waits, in order of entering."""
        self._expiries: list[tuple[float, int, Entry]] = []
        self._gap = Mean(0.0)
        """Recent mean of seconds between two dispatches."""
        self._served_at: float | None = None

    def refuse(self, request: Request) -> Reject | None:
        """The answer to a request that finds the queue full; None lets it in."""
        tokens = self.waiting_tokens + request.prompt_tokens
        if self.waiting < self._config.max_waiting and (
            not self.waiting or tokens <= self._config.max_waiting_tokens
        ):
            return None
        return Reject(request.id, "queue_full", self.retry_after(request.arrived_at))

    def victims(self, request: Request) -> list[Entry]:
        """Who should give up its place to a more important request: the least important that came
        last. Empty if even all of them would not make room; nobody who was sent once already."""
        found: list[Entry] = []
        tokens = self.waiting_tokens + request.prompt_tokens
        for priority in sorted(p for p in self._by_priority if p < request.priority):
            for entry in reversed(self._by_priority[priority]):
                if entry.retried:
                    continue
                found.append(entry)
                tokens -= entry.request.prompt_tokens
                if tokens <= self._config.max_waiting_tokens or len(found) == self.waiting:
                    return found
        return []

    def retry_after(self, now: float) -> float:
        """Seconds until a tenth of the queue should have drained, at the recent rate."""
        gap = self._gap.value
        if self._served_at is not None:
            gap = max(gap, now - self._served_at)
        return min(MAX_RETRY, max(MIN_RETRY, gap * self.waiting / 10))

    def expiry(self, request: Request) -> float:
        """Until when the request may wait."""
        end = request.arrived_at + self._config.queue_seconds
        return end if request.deadline is None or end < request.deadline else request.deadline

    def enter(self, entry: Entry) -> None:
        """A request starts to wait."""
        self.waiting += 1
        self.waiting_tokens += entry.request.prompt_tokens
        self._by_priority.setdefault(entry.request.priority, {})[entry] = None
        if len(self._expiries) > 64 + 2 * self.waiting:
            self._expiries = [item for item in self._expiries if item[2].waiting]
            heapify(self._expiries)
        heappush(self._expiries, (self.expiry(entry.request), entry.seq, entry))

    def leave(self, entry: Entry) -> None:
        """A request waits no more."""
        self.waiting -= 1
        self.waiting_tokens -= entry.request.prompt_tokens
        equals = self._by_priority[entry.request.priority]
        del equals[entry]
        if not equals:
            del self._by_priority[entry.request.priority]

    def served(self, now: float) -> None:
        """A request was dispatched."""
        if self._served_at is not None:
            self._gap.add(now - self._served_at)
        self._served_at = now

    @property
    def earliest(self) -> float:
        """No deadline is before this one, which may be of somebody who is gone."""
        return self._expiries[0][0] if self._expiries else math.inf

    def next_expiry(self) -> float:
        """The earliest deadline of those that wait; infinite if nobody does."""
        while self._expiries and not self._expiries[0][2].waiting:
            heappop(self._expiries)
        return self._expiries[0][0] if self._expiries else math.inf

    def pop_expired(self, now: float) -> Entry | None:
        """One whose deadline has come; it must be ended before the next is asked for, since one
        that came back after a failure is listed twice."""
        return heappop(self._expiries)[2] if self.next_expiry() <= now else None
