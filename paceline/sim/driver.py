"""Runs a scheduler in virtual time: a heap of what is due, no clock and no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Protocol

from paceline.scheduler.events import Action, Arrived, Dispatch, Event, Tick
from paceline.scheduler.scheduler import Scheduler
from paceline.scheduler.types import Request


class Engine(Protocol):
    """Whatever serves requests: it asks the driver to call it back at later times."""

    def start(self, request: Request, driver: Driver) -> None:
        """A request was dispatched here at `driver.now`."""


class Driver:
    """The virtual twin of `proxy.driver.Driver`: same events, same actions, another clock."""

    def __init__(self, scheduler: Scheduler, engines: dict[str, Engine]) -> None:
        self.now = 0.0
        self.actions: list[tuple[float, Action]] = []
        """Every decision with its time."""
        self._scheduler = scheduler
        self._engines = engines
        self._requests: dict[str, Request] = {}
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._counter = count()
        self._tick_at: float | None = None

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Call `call` at `time`; those due together go in the order they were asked for."""
        heappush(self._due, (time, next(self._counter), call))

    def arrive(self, requests: Iterable[Request]) -> None:
        """Let these requests arrive at their `arrived_at`."""
        for request in requests:
            self._requests[request.id] = request
            self.at(request.arrived_at, partial(self.feed, Arrived(request)))

    def feed(self, event: Event) -> None:
        """Hand one event to the scheduler now and start what it dispatches."""
        for action in self._scheduler.handle(event, self.now):
            self.actions.append((self.now, action))
            if isinstance(action, Dispatch):
                self._engines[action.backend].start(self._requests[action.id], self)
        self._rearm()

    def run(self) -> None:
        """Until nothing is due any more."""
        while self._due:
            self.now, _, call = heappop(self._due)
            call()

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
