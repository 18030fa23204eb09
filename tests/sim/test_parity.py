"""The proxy's driver on an asyncio loop and the simulator's driver take identical decisions."""

from __future__ import annotations

import asyncio
import random
from functools import partial

import pytest

from paceline.policies.fcfs import Fcfs
from paceline.policies.lpm import Lpm
from paceline.policies.random import Random
from paceline.proxy.serving.driver import Driver as ProxyDriver
from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.events import (
    Action,
    Arrived,
    BackendChanged,
    Dispatch,
    Event,
    Finished,
    FirstByte,
)
from paceline.scheduler.policy import Policy
from paceline.scheduler.scheduler import Scheduler
from paceline.scheduler.types import Request, Usage
from paceline.sim.driver import Driver as SimDriver
from tests.scheduler.dialogue import backend, request
from tests.virtual_loop import run

CONFIG = SchedulerConfig(max_waiting=12, queue_seconds=0.33, follower_min_tokens=100)
BACKENDS = [backend("early"), backend("late", leader_first=True, max_running=3)]
Decision = tuple[float, str, str]


def workload() -> list[Request]:
    """500 requests of 12 families in bursts; times that cannot coincide with service times."""
    rng = random.Random(5)
    now = 0.0
    requests = []
    for number in range(500):
        now += rng.expovariate(60.0) if number % 25 else 0.7
        prefix = rng.choice("abcdefghijkl") * rng.randint(1, 4)
        streaming = rng.random() < 0.7
        requests.append(request(f"r{number:03d}", prefix, at=now, streaming=streaming))
    return requests


def service(asked: Request) -> tuple[float, float]:
    """Seconds to the first byte, and from there to the end."""
    return 0.0371 + 1e-4 * asked.prompt_tokens, 0.2113 + 1e-5 * asked.prompt_tokens


class Engine:
    """Serves each request in a time of its own, for the simulator's driver."""

    def start(self, request: Request, driver: SimDriver) -> None:
        first, rest = service(request)
        if request.streaming:
            driver.at(driver.now + first, lambda: driver.feed(FirstByte(request.id)))
        finished = Finished(request.id, Usage(output_tokens=20))
        driver.at(driver.now + first + rest, lambda: driver.feed(finished))


class Mute(Engine):
    """Shows nothing before the end."""

    def start(self, request: Request, driver: SimDriver) -> None:
        finished = Finished(request.id, Usage(output_tokens=20))
        driver.at(driver.now + sum(service(request)), lambda: driver.feed(finished))


class Decisions:
    """Writes down what the simulator's driver does."""

    def __init__(self) -> None:
        self.made: list[Decision] = []

    def fed(self, event: Event, now: float) -> None:
        """Nothing to write."""

    def decided(self, action: Action, now: float) -> None:
        where = action.backend if isinstance(action, Dispatch) else "!"
        self.made.append((now, action.id, where))


def simulate(policy: Policy, engine: Engine | None = None) -> list[Decision]:
    scheduler = Scheduler(CONFIG, policy, seed=3)
    decisions = Decisions()
    engines = dict.fromkeys((b.id for b in BACKENDS), engine or Engine())
    driver = SimDriver(scheduler, engines, decisions)
    for spec in BACKENDS:
        driver.feed(BackendChanged(spec))
    for asked in workload():
        driver.at(asked.arrived_at, partial(driver.feed, Arrived(asked)))
    driver.run()
    return decisions.made


async def serve(policy: Policy) -> list[Decision]:
    decisions: list[Decision] = []
    scheduler = Scheduler(CONFIG, policy, seed=3)

    def observe(_: object, actions: list[object], now: float) -> None:
        for action in actions:
            where = action.backend if isinstance(action, Dispatch) else "!"
            decisions.append((now, action.id, where))  # type: ignore[attr-defined]

    driver = ProxyDriver(scheduler, asyncio.get_running_loop(), observe)  # type: ignore[arg-type]
    for spec in BACKENDS:
        driver.backend_changed(spec)
    await asyncio.gather(*(client(driver, asked) for asked in workload()))
    return decisions


async def client(driver: ProxyDriver, asked: Request) -> None:
    await asyncio.sleep(asked.arrived_at - driver.now())
    decision = driver.admit(asked) or await driver.wait(asked.id)
    if not isinstance(decision, Dispatch):
        return
    first, rest = service(asked)
    await asyncio.sleep(first)
    if asked.streaming:
        driver.first_byte(asked.id)
    await asyncio.sleep(rest)
    driver.finished(asked.id, Usage(output_tokens=20))


@pytest.mark.parametrize("policy", [Fcfs, Lpm, Random])
def test_same_decisions(policy: type[Policy]) -> None:
    """Both shells say the same about 500 requests, most of which had to wait."""
    simulated = simulate(policy())
    served = run(serve(policy()))
    assert len(simulated) == 500
    assert [decision[1:] for decision in simulated] == [decision[1:] for decision in served]
    assert [now for now, *_ in simulated] == pytest.approx([now for now, *_ in served], abs=1e-3)
    assert sum(where == "!" for _, _, where in simulated) > 0
    assert {where for _, _, where in simulated} == {"early", "late", "!"}


def test_a_dropped_event_shows() -> None:
    """The comparison can fail: engines that report no first byte change the decisions."""
    assert simulate(Lpm(), Mute()) != simulate(Lpm())
