"""Where the parent serves one worker: its requests' steps go to the driver, decisions come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import structs

from paceline.proxy.workers.messages import ToWorker
from paceline.scheduler.events import (
    Arrived,
    Cancelled,
    Dispatch,
    Failed,
    Finished,
    FirstByte,
    Reject,
)
from paceline.scheduler.types import Request

if TYPE_CHECKING:
    from paceline.proxy.serving.driver import Driver

Step = Arrived | FirstByte | Finished | Failed | Cancelled


class Desk:
    """Knows which requests are the worker's, so that none outlives it."""

    def __init__(self, driver: Driver, send: Callable[[ToWorker], None]) -> None:
        self._driver = driver
        self._send = send
        self._open: set[str] = set()

    def __len__(self) -> int:
        """The worker's requests that wait or run."""
        return len(self._open)

    def take(self, step: Step) -> None:
        """One step of one request."""
        if type(step) is Arrived:
            self._admit(step.request)
        elif type(step) is FirstByte:
            self._driver.first_byte(step.id)
        elif type(step) is Failed and step.retry:
            self._driver.submit(step, step.id, self)
        else:
            self._end(step)

    def close(self) -> None:
        """The worker is gone, and with it its clients."""
        for id in sorted(self._open):
            self._driver.cancelled(id)
        self._open.clear()

    # What the driver does with a future

    def done(self) -> bool:
        """It can be told of the next decision, too."""
        return False

    def set_result(self, decision: Dispatch | Reject) -> None:
        """Pass on what was decided about one of its requests."""
        if type(decision) is Reject:
            self._open.discard(decision.id)
        self._send(decision)

    def _admit(self, request: Request) -> None:
        self._open.add(request.id)
        now = self._driver.now()
        if request.arrived_at > now:  # loops tell the time at which their turn began
            request = structs.replace(request, arrived_at=now)
        self._driver.submit(Arrived(request), request.id, self)

    def _end(self, step: Step) -> None:
        match step:
            case Finished(id, usage, prefix):
                self._driver.finished(id, usage, prefix)
            case Failed(id):
                self._driver.failed(id)
            case Cancelled(id):
                self._driver.cancelled(id)
            case _:
                return
        self._open.discard(id)
