"""Whichever worker a request came to, the scheduler hears the same and decides the same."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import cast

import pytest

from paceline.policies.registry import load
from paceline.proxy.serving.driver import Driver
from paceline.proxy.workers.desk import Desk, Step
from paceline.proxy.workers.messages import ToWorker, encode, to_parent, to_worker
from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.events import (
    Action,
    Arrived,
    BackendChanged,
    Cancelled,
    Dispatch,
    Event,
    Failed,
    Finished,
    FirstByte,
    Reject,
)
from paceline.scheduler.scheduler import Scheduler
from paceline.scheduler.types import BackendSpec, Request, Usage


class Clock:
    """A loop that is asked for nothing but the time and a timer that never fires."""

    def __init__(self) -> None:
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: object) -> Clock:
        return self

    def cancel(self) -> None:
        pass


def scheduler() -> Scheduler:
    return Scheduler(SchedulerConfig(max_waiting=8), load("auto", {}), seed=1)


def request(id: str, family: int, now: float) -> Request:
    prefix = tuple(family * 2**60 + i for i in range(16))
    return Request(id=id, arrived_at=now, model="m", prefix=prefix, prompt_tokens=2048)


def backend(id: str) -> BackendChanged:
    return BackendChanged(BackendSpec(id=id, models=("m",), kv_tokens=8192, leader_first=True))


def recorded() -> list[tuple[float, Event, list[Action]]]:
    """A dialogue in which requests wait, go, fail, are tried again, refused, left and answered."""
    decider, dice = scheduler(), random.Random(7)
    log: list[tuple[float, Event, list[Action]]] = []
    running: list[str] = []
    for turn in range(400):
        now = turn * 0.01
        event: Event = backend(f"b{turn}")
        if turn >= 2:
            event = Arrived(request(str(turn), dice.randrange(5), now))
        if turn >= 2 and running and dice.random() < 0.55:
            id = dice.choice(running)
            answered = Finished(id, Usage(output_tokens=5), prefix=(int(id), 2**63))
            finished = (Finished(id), answered)
            failed = (Cancelled(id), Failed(id), Failed(id, retry=True))
            event = dice.choice((FirstByte(id), *finished, *failed))
            if not isinstance(event, FirstByte):
                running.remove(id)
        actions = decider.handle(event, now)
        running += [action.id for action in actions if isinstance(action, Dispatch)]
        log.append((now, event, actions))
    return log


class Office:
    """Two desks before one driver; all that passes goes through the messages' encoding."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.driver = Driver(scheduler(), cast(asyncio.AbstractEventLoop, self.clock))
        self.told: list[tuple[int, ToWorker]] = []
        self.desks = [Desk(self.driver, self._teller(worker)) for worker in range(2)]

    def hear(self, worker: int, event: Event) -> list[tuple[int, ToWorker]]:
        """What the workers are told when one of them says this."""
        self.told.clear()
        for step in to_parent(encode([event])):
            self.desks[worker].take(cast(Step, step))
        return list(self.told)

    def _teller(self, worker: int) -> Callable[[ToWorker], None]:
        def tell(message: ToWorker) -> None:
            self.told += [(worker, one) for one in to_worker(encode([message]))]

        return tell


def worker_of(id: str) -> int:
    return int(id) % 2


def test_decisions_are_those_of_one_process() -> None:
    """A recorded dialogue, its requests dealt to two workers, has the same decisions, and each
    reaches the worker that has the request."""
    office, kinds = Office(), set()
    for now, event, actions in recorded():
        office.clock.now = now
        if isinstance(event, BackendChanged):
            office.driver.backend_changed(event.backend)
            continue
        id = event.request.id if isinstance(event, Arrived) else cast(Step, event).id  # type: ignore[union-attr]
        told = office.hear(worker_of(id), event)
        expected = [(worker_of(action.id), action) for action in actions]
        assert sorted(told, key=str) == sorted(expected, key=str)
        kinds |= {type(action) for action in actions} | {type(event)}
    assert {Dispatch, Reject, Failed, Cancelled} <= kinds


def test_nothing_outlives_a_worker() -> None:
    """When it is gone, its requests are, waiting or running; the other's stay."""
    office = Office()
    office.driver.backend_changed(backend("b").backend)
    for id in range(8):
        office.hear(worker_of(str(id)), Arrived(request(str(id), id, 0.0)))
    assert office.driver.scheduler.snapshot(0.0).waiting > 0
    office.desks[0].close()
    snapshot = office.driver.scheduler.snapshot(0.0)
    assert snapshot.waiting + snapshot.in_flight == len(office.desks[1]) == 4
    office.desks[1].close()
    snapshot = office.driver.scheduler.snapshot(0.0)
    assert (snapshot.waiting, snapshot.in_flight, len(office.desks[1])) == (0, 0, 0)


def test_a_request_that_waits_can_be_cancelled() -> None:
    """It is out of the scheduler, and nobody is told of a decision about it any more."""
    office = Office()
    office.driver.backend_changed(backend("b").backend)
    waiting = [str(id) for id in range(8) if not office.hear(0, Arrived(request(str(id), id, 0.0)))]
    for id in waiting:
        office.hear(0, Cancelled(id))
    assert office.driver.scheduler.snapshot(0.0).waiting == 0
    assert not office.hear(0, Finished("0"))


@pytest.mark.parametrize(("arrived_at", "waited"), [(1.0, 0.0), (0.25, 0.25)])
def test_nobody_waits_for_less_than_no_time(arrived_at: float, waited: float) -> None:
    """A worker's clock may be a turn of its loop ahead of the parent's."""
    office = Office()
    office.clock.now = 0.5
    office.driver.backend_changed(backend("b").backend)
    ((_, decision),) = office.hear(0, Arrived(request("1", 1, arrived_at)))
    assert isinstance(decision, Dispatch)
    assert decision.waited == waited
