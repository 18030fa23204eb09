"""Runs a scheduler in virtual time: a heap of what is due, no clock and no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Protocol

from paceline.scheduler.events import Action, Arrived, Dispatch, Event, Failed, Finished, Tick
from paceline.scheduler.types import Request

LAST = 1 << 30
"""Rank of all but the ends of steps, which come first and in the order of the engines: so their
order does not depend on when they were asked for."""


class Decider(Protocol):
    """What decides: the scheduler, or whatever stands in for it."""

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take one event; returns what to do."""
        ...

    def deadline(self) -> float | None:
        """When to send a `Tick`; None for never."""
        ...


class Engine(Protocol):
    """Whatever serves requests: it asks the driver to call it back at later times."""

    def start(self, request: Request, driver: Driver) -> None:
        """A request was dispatched here at `driver.now`."""


class Observer(Protocol):
    """Who is told of everything that goes in and comes out, as it does."""

    def fed(self, event: Event, now: float) -> None:
        """This event is about to be handed to the scheduler."""

    def decided(self, action: Action, now: float) -> None:
        """The scheduler wants this; it is about to be done."""


class Driver:
    """The virtual twin of `proxy.driver.Driver`: same events, same actions, another clock."""

    def __init__(
        self, scheduler: Decider, engines: Mapping[str, Engine], observer: Observer | None = None
    ) -> None:
        self.now = 0.0
        self._scheduler = scheduler
        self._engines = engines
        self._observer = observer
        self._requests: dict[str, Request] = {}
        """Those that have arrived and not ended."""
        self._due: list[tuple[float, int, int, Callable[[], None]]] = []
        self._counter = count()
        self._tick_at: float | None = None

    def at(self, time: float, call: Callable[[], None], rank: int = LAST) -> None:
        """Call `call` at `time`; those due together go by rank, then in the order of asking.

        ValueError for a time that is past.
        """
        if time < self.now:
            raise ValueError(f"{time} is before {self.now}")
        heappush(self._due, (time, rank, next(self._counter), call))

    def feed(self, event: Event) -> None:
        """Hand one event to the scheduler now and start what it dispatches."""
        if isinstance(event, Arrived):
            self._requests[event.request.id] = event.request
        if self._observer is not None:
            self._observer.fed(event, self.now)
        for action in self._scheduler.handle(event, self.now):
            self._carry_out(action)
        if isinstance(event, Finished) or (isinstance(event, Failed) and not event.retry):
            self._requests.pop(event.id, None)
        self._rearm()

    def run(self) -> None:
        """Until nothing is due any more."""
        due = self._due
        while due:
            self.now, _, _, call = heappop(due)
            call()

    def _carry_out(self, action: Action) -> None:
        if self._observer is not None:
            self._observer.decided(action, self.now)
        if isinstance(action, Dispatch):
            self._engines[action.backend].start(self._requests[action.id], self)
        else:
            del self._requests[action.id]

    def _rearm(self) -> None:
        """Keep one tick, as the proxy's driver does: an early one is harmless."""
        deadline = self._scheduler.deadline()
        if deadline is None:
            self._tick_at = None
        elif self._tick_at is None or deadline < self._tick_at:
            self._tick_at = max(deadline, self.now)
            self.at(self._tick_at, partial(self._tick, self._tick_at))

    def _tick(self, due: float) -> None:
        if due == self._tick_at:
            self._tick_at = None
            self.feed(Tick())
