"""Bugs that proxies for LLMs had, by their number in the list that docs/reliability.md gives.

Here are those that show only in the whole proxy; that page names the tests of the others.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.faults.cases import body
from bench.faults.catalogue import Refuses
from bench.faults.client import Leave, Seen, ask
from bench.faults.rig import Rig, rigged
from bench.faults.wire import Fault, Sound
from paceline.scheduler.config import SchedulerConfig


async def one_by_one(rig: Rig, count: int, patience: float = 20.0) -> list[Seen]:
    """So many requests, each after the one before."""
    return [await ask(rig.port, body(i), f"r{i}", patience=patience) for i in range(count)]


def refusing(status: str, times: int) -> Callable[[], Fault]:
    """The next generations are refused, those behind them are not."""
    left = iter(range(times))
    return lambda: Sound() if next(left, None) is None else Refuses(status, "Retry-After: 7")


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
async def test_4_back_pressure_shuts_nobody_out(status: str) -> None:
    """Six refusals from everybody: told to clients with their Retry-After, and then all is well."""
    async with rigged() as rig:
        faults = refusing(status, 12)
        for engine in rig.engines:
            engine.next_fault = faults
        refused = await one_by_one(rig, 6)
        asked = sum(engine.asked for engine in rig.engines)
        good = await one_by_one(rig, 10)
    assert [(seen.status, seen.retry_after) for seen in refused] == [(int(status[:3]), "7")] * 6
    assert asked == 12, "twice each, and no more"
    assert [seen.status for seen in good] == [200] * 10


async def test_5_retries_are_bounded() -> None:
    """With the budget spent, a failing fleet is asked hardly more often than clients ask."""
    async with rigged() as rig:
        for engine in rig.engines:
            engine.next_fault = lambda: Refuses("503 Service Unavailable")
        budget = rig.proxy.gateway.retries
        while budget.spend(rig.proxy.gateway.driver.now()):
            pass
        await one_by_one(rig, 20)
        assert sum(engine.asked for engine in rig.engines) <= 20 * 1.2 + 10


async def test_a_hung_backend_costs_nobody_an_answer() -> None:
    """One of two takes connections and never answers; clients wait for 1.5 s and no longer."""
    async with rigged() as rig:
        await one_by_one(rig, 2)
        rig.engines[0].thawed.clear()
        seen = await one_by_one(rig, 20, patience=1.5)
        rig.engines[0].thawed.set()
        await rig.up(2)
    assert [each.word for each in seen] == ["200"] * 20
    assert sum(each.seconds > 0.5 for each in seen) <= 1, "only the first one had to wait"


async def test_15_there_is_no_hidden_limit() -> None:
    """Many more streams at once than the hundred of many HTTP clients."""
    async with rigged() as rig:
        asks = (ask(rig.port, body(i, stream=True), f"r{i}") for i in range(150))
        assert {seen.word for seen in await asyncio.gather(*asks)} == {"200"}


async def test_17_streams_are_not_to_be_collected_on_the_way() -> None:
    """nginx in front is told so; others than streams are left as they are."""
    async with rigged(1) as rig:
        seen = await one_by_one(rig, 2)
    assert [each.unbuffered for each in seen] == [True, False]


async def test_19_requests_wait_for_a_backend_to_come_back() -> None:
    """A rollout restarts all engines at once: nobody hears of it."""
    async with rigged() as rig:
        for engine in rig.engines:
            await engine.kill()
        await rig.up(0)
        asks = [asyncio.create_task(ask(rig.port, body(i), f"r{i}")) for i in range(4)]
        while rig.proxy.snapshot().waiting < 4:
            await asyncio.sleep(0)
        for engine in rig.engines:
            await engine.start()
        assert {seen.word for seen in await asyncio.gather(*asks)} == {"200"}


async def test_19_but_not_for_ever() -> None:
    """At the queue's end they are told that there is no capacity, and when to try again."""
    async with rigged(1, scheduler=SchedulerConfig(queue_seconds=0.1, max_waiting=2)) as rig:
        await rig.engines[0].kill()
        await rig.up(0)
        seen = await asyncio.gather(*(ask(rig.port, body(i), f"r{i}") for i in range(3)))
    assert {each.word for each in seen} == {"503 no_backend"}
    assert all(int(each.retry_after) >= 1 for each in seen)


async def test_1_engines_stop_when_the_client_leaves() -> None:
    """Before the first byte too: nothing runs or waits there any longer."""
    async with rigged(1) as rig:
        for leave in (Leave.BEFORE_HEAD, Leave.AFTER_HEAD, Leave.MID_STREAM):
            await ask(rig.port, body(0), "r", leave)
        assert await rig.leftovers(3) == []


async def test_a_restart_is_noticed() -> None:
    """What was believed to be in the engine's cache is forgotten, and requests come back slowly."""
    async with rigged(1) as rig:
        await one_by_one(rig, 3)
        assert rig.proxy.snapshot().backends[0].recent_requests == 3
        await rig.engines[0].restart()
        async with asyncio.timeout(10.0):
            while rig.proxy.snapshot().backends[0].recent_requests:
                await asyncio.sleep(0.02)
        standing = rig.proxy.gateway.directory["e0"].standing
        assert standing.throttle.limit(rig.proxy.gateway.driver.now()) is not None
        assert (await one_by_one(rig, 1))[0].word == "200"


def test_every_bug_has_its_test() -> None:
    """docs/reliability.md names a test for each of the 21, and those tests exist."""
    root = Path(__file__).parents[2]
    page = (root / "docs" / "reliability.md").read_text()
    rows = dict(re.findall(r"^\| (\d+) \|.*\| (`tests/.*`) \|$", page, re.M))
    assert list(rows) == [str(number) for number in range(1, 22)]
    named = re.findall(r"`(tests/\S+\.py)::(\w+)`", page)
    assert len(named) >= 21
    assert [name for path, name in named if f"def {name}(" not in (root / path).read_text()] == []
