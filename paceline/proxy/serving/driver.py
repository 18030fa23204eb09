"""Feeds the scheduler with events and carries out its actions: the one file that knows both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from paceline.proxy.serving.decider import Waiter
from paceline.scheduler.events import (
    Action,
    Arrived,
    BackendChanged,
    BackendRemoved,
    BackendReset,
    CacheReported,
    Cancelled,
    Dispatch,
    Event,
    Failed,
    Finished,
    FirstByte,
    LoadReported,
    Reject,
    Tick,
)
from paceline.scheduler.policy import Policy
from paceline.scheduler.scheduler import Scheduler
from paceline.scheduler.types import BackendSpec, Keys, Request, Usage


class Driver:
    """One scheduler on one event loop; keeps one timer."""

    def __init__(
        self,
        scheduler: Scheduler,
        loop: asyncio.AbstractEventLoop,
        observe: Callable[[Event, list[Action], float], None] | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.now = loop.time
        """The scheduler's clock."""
        self._loop = loop
        self._observe = observe
        self._waiting: dict[str, Waiter] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0  # when it fires; uvloop's own handles cannot always tell

    def retry_after(self) -> float:
        """Seconds until a part of the queue should have drained."""
        return self.scheduler.retry_after(self.now())

    def admit(self, request: Request) -> Dispatch | Reject | None:
        """The decision about a new request; None if it has to `wait` for one."""
        return self._feed(Arrived(request), request.id)

    def retry(self, id: str) -> Dispatch | Reject | None:
        """The backend failed before the first byte: the next decision, elsewhere if possible; None
        if it has to `wait` for one."""
        return self._feed(Failed(id, retry=True), id)

    async def wait(self, id: str) -> Dispatch | Reject:
        """The decision about a request that was told to; cancelled, it is out of the scheduler."""
        future: asyncio.Future[Dispatch | Reject] = self._loop.create_future()
        self._waiting[id] = future
        try:
            return await future
        except asyncio.CancelledError:
            self.cancelled(id)
            raise

    def submit(self, event: Arrived | Failed, id: str, waiter: Waiter) -> None:
        """As `admit` and `retry`, for a waiter that is told, now or later."""
        decided = self._feed(event, id)
        if decided is not None:
            waiter.set_result(decided)
        else:
            self._waiting[id] = waiter

    def first_byte(self, id: str) -> None:
        """The first byte of the answer came."""
        self._feed(FirstByte(id))

    def finished(self, id: str, usage: Usage, prefix: tuple[int, ...] = ()) -> None:
        """The answer is complete; `prefix` are the block keys of prompt and answer, if known."""
        self._feed(Finished(id, usage, prefix))

    def failed(self, id: str) -> None:
        """The backend failed and the request ends here."""
        self._feed(Failed(id))

    def cancelled(self, id: str) -> None:
        """The client went away."""
        self._waiting.pop(id, None)
        self._feed(Cancelled(id))

    def backend_changed(self, spec: BackendSpec) -> None:
        """A backend is new or different."""
        self._feed(BackendChanged(spec))

    def backend_removed(self, id: str) -> None:
        """A backend is gone for good."""
        self._feed(BackendRemoved(id))

    def backend_reset(self, id: str) -> None:
        """A backend restarted with an empty cache."""
        self._feed(BackendReset(id))

    def cache_reported(
        self, id: str, stored: Keys = (), removed: Keys = (), *, known: bool = True
    ) -> None:
        """A backend told which blocks came and went, or tells no longer."""
        self._feed(CacheReported(id, stored, removed, known))

    def load_reported(self, id: str, running: int, waiting: int, asked_at: float) -> None:
        """A backend told its load."""
        self._feed(LoadReported(id, running, waiting, asked_at))

    def heard(self, event: Event) -> None:
        """Another proxy told something of its requests, or began or ceased to be heard."""
        self._feed(event)

    def use(self, policy: Policy) -> None:
        """Order and place by another policy from now on."""
        now = self.now()
        self._carry_out(self.scheduler.use(policy, now))
        self._rearm(self.scheduler.deadline(), now)

    def _feed(self, event: Event, own: str = "") -> Dispatch | Reject | None:
        """Handle one event; returns the action about `own`, wakes whom the others are about."""
        now = self.now()
        scheduler, observe = self.scheduler, self._observe
        actions = scheduler.handle(event, now)
        decided = self._carry_out(actions, own) if actions else None
        deadline = scheduler.deadline()
        if deadline is not None or self._timer is not None:
            self._rearm(deadline, now)
        if observe is not None:
            observe(event, actions, now)
        return decided

    def _carry_out(self, actions: list[Action], own: str = "") -> Dispatch | Reject | None:
        decided = None
        for action in actions:
            if action.id == own:
                decided = action
            elif (future := self._waiting.pop(action.id, None)) and not future.done():
                future.set_result(action)
        return decided

    def _rearm(self, deadline: float | None, now: float) -> None:
        if self._timer is not None:
            if deadline is not None and self._due <= deadline:
                return  # an early tick is harmless; moving the timer at each event is not free
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._due = max(deadline, now)
            self._timer = self._loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._feed(Tick())
