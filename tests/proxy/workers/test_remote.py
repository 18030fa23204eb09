"""A worker's requests are decided elsewhere, and never wait for nobody."""

from __future__ import annotations

import asyncio

import pytest

from paceline.proxy.http.errors import ApiError
from paceline.proxy.workers.messages import Learned, ToParent
from paceline.proxy.workers.remote import RemoteDriver, RemoteRatio
from paceline.scheduler.events import (
    Arrived,
    Cancelled,
    Dispatch,
    Failed,
    Finished,
    FirstByte,
    Reject,
)
from paceline.scheduler.types import Request, Usage

REQUEST = Request(id="1", arrived_at=0.0)
GO = Dispatch("1", "b", 0, 0.0, "direct")


class Worker:
    """A remote driver and what it says."""

    def __init__(self) -> None:
        self.said: list[ToParent] = []
        self.driver = RemoteDriver(self.said.append, asyncio.get_running_loop())

    async def waits(self, id: str) -> asyncio.Task[Dispatch | Reject]:
        """Somebody waits for the decision about this request."""
        task = asyncio.create_task(self.driver.wait(id))
        await asyncio.sleep(0)
        return task


async def test_a_step_is_a_message_and_a_decision_its_answer() -> None:
    """The driver's verbs are the scheduler's events."""
    worker = Worker()
    worker.driver.admit(REQUEST)
    task = await worker.waits("1")
    worker.driver.decided(GO)
    assert await task == GO
    worker.driver.retry("1")
    task = await worker.waits("1")
    worker.driver.decided(GO)
    assert await task == GO
    worker.driver.first_byte("1")
    worker.driver.finished("1", Usage(output_tokens=3))
    worker.driver.failed("1")
    worker.driver.cancelled("1")
    steps = [Arrived(REQUEST), Failed("1", retry=True), FirstByte("1")]
    ends = [Finished("1", Usage(output_tokens=3)), Failed("1"), Cancelled("1")]
    assert worker.said == [*steps, *ends]


async def test_who_leaves_while_waiting_is_cancelled() -> None:
    """The parent hears of it; its decision, which may be on the way, finds nobody."""
    worker = Worker()
    worker.driver.admit(REQUEST)
    task = await worker.waits("1")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert worker.said[-1] == Cancelled("1")
    worker.driver.decided(GO)


async def test_without_a_parent_nobody_waits() -> None:
    """Those who wait and those who come are told to try again."""
    worker = Worker()
    worker.driver.admit(REQUEST)
    task = await worker.waits("1")
    worker.driver.abandon()
    with pytest.raises(ApiError) as waited:
        await task
    with pytest.raises(ApiError) as came:
        worker.driver.admit(REQUEST)
    for raised in (waited, came):
        assert (raised.value.status, raised.value.reason) == (503, "restarting")


def test_ratios_are_the_parents() -> None:
    """What is learned goes there, and counts once it comes back."""
    said: list[ToParent] = []
    ratio = RemoteRatio(said.append)
    ratio.learn("m", 100.0, 50)
    assert said == [Learned("m", 100.0, 50)]
    assert ratio.bytes_per_token("m") == 4.0
    ratio.update({"m": 2.0})
    assert ratio.bytes_per_token("m") == 2.0
