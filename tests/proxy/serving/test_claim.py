"""A claim ends once, whatever is reported twice."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from paceline.proxy.http.errors import ApiError
from paceline.proxy.serving.claim import Scheduled
from paceline.proxy.telemetry.record import Record
from paceline.scheduler.events import Reject
from paceline.scheduler.types import Request, Usage
from tests.proxy.rig import FakeDriver

if TYPE_CHECKING:
    from paceline.proxy.serving.driver import Driver


def admitted(driver: FakeDriver) -> Scheduled:
    """A claim on the backend that the driver gives it at once."""
    request = Request(id="r", arrived_at=0.0, model="m")
    decision = driver.admit(request)
    assert decision is not None
    return Scheduled(cast("Driver", driver), request, Record(id="r", path="/"), decision)


async def test_only_the_first_ending_counts() -> None:
    """The scheduler hears of one, so that its counts return to zero."""
    driver = FakeDriver(["e"])
    held = admitted(driver)
    held.finished(Usage())
    held.failed()
    held.cancelled()
    assert driver.log == ["admit", "finished"]


async def test_refused_request_has_no_ending() -> None:
    """It is out of the scheduler already."""
    driver = FakeDriver(["e"])
    held = admitted(driver)
    driver.refusal = Reject("r", "deadline", retry_after=1.0)
    with pytest.raises(ApiError, match="No engine had room"):
        await held.move()
    held.failed()
    assert driver.log == ["admit", "retry"]


async def test_cancelled_while_moving_ends_in_the_driver() -> None:
    """Whoever waits for another backend is taken out by the driver, and not twice."""
    driver = FakeDriver(["e"])
    held = admitted(driver)
    driver.gate = asyncio.get_running_loop().create_future()
    moving = asyncio.create_task(held.move())
    await driver.waiting.wait()
    moving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await moving
    held.cancelled()
    assert driver.log == ["admit", "retry", "cancelled"]
