"""The driver carries out what the scheduler decides, on the loop that the product runs on."""

from __future__ import annotations

import asyncio
from typing import cast

import uvloop

from paceline.proxy.serving.driver import Driver
from paceline.scheduler.events import Action, Arrived, Dispatch, Event, Tick
from paceline.scheduler.scheduler import Scheduler
from paceline.scheduler.types import Request


class Late:
    """A scheduler that dispatches at once and wants a tick at an instant that has passed."""

    def __init__(self) -> None:
        self.ticked = asyncio.Event()

    def handle(self, event: Event, now: float) -> list[Action]:
        if isinstance(event, Tick):
            self.ticked.set()
        if isinstance(event, Arrived):
            return [Dispatch(event.request.id, "a", 0, 0.0, "direct")]
        return []

    def deadline(self) -> float | None:
        return None if self.ticked.is_set() else 0.0


def test_a_deadline_that_has_passed_costs_no_decision() -> None:
    """uvloop's handle for such an instant does not tell when: nobody may ask it."""

    async def main() -> list[str]:
        scheduler = Late()
        driver = Driver(cast(Scheduler, scheduler), asyncio.get_running_loop())
        decisions = [driver.admit(Request(id=id, arrived_at=0.0)) for id in ("1", "2")]
        await scheduler.ticked.wait()
        return [one.backend for one in decisions if isinstance(one, Dispatch)]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(main()) == ["a", "a"]
