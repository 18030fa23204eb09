"""The parent's side of all workers: one desk each, and whatever all of them are told."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import structlog

from paceline.proxy.http.errors import ApiError, response
from paceline.proxy.http.request import Reply, Request
from paceline.proxy.serving.stored import Kept
from paceline.proxy.upstream.directory import Entry
from paceline.proxy.workers.desk import Desk
from paceline.proxy.workers.link import Link
from paceline.proxy.workers.messages import (
    Answered,
    Asked,
    Backend,
    Begin,
    Count,
    Counted,
    Ended,
    Fared,
    Learned,
    Listening,
    Ratios,
    ToParent,
    ToWorker,
    Traffic,
    to_parent,
)
from paceline.proxy.workers.pages import rebuilt
from paceline.proxy.workers.traffic import SharedPool

if TYPE_CHECKING:
    from paceline.proxy.serving.driver import Driver
    from paceline.proxy.serving.gateway import FullGateway
    from paceline.proxy.telemetry.metrics import Metrics
    from paceline.proxy.telemetry.record import Record

COUNT_SECONDS = 0.5
"""Longest wait for what a worker has counted, at a scrape: one that is stuck is counted later."""
RATIO_SECONDS = 0.2
"""Least time between two broadcasts of what was learned about tokens."""

log = structlog.get_logger()

Page = Callable[[Request], Awaitable[Reply | None]]
ParentLink = Link[ToWorker, ToParent]


class Hub:
    """Sits between the workers' links and the parts of the parent that serve them."""

    def __init__(
        self, gateway: FullGateway, driver: Driver, pool: SharedPool, metrics: Metrics, page: Page
    ) -> None:
        self._driver = driver
        self._pool = pool
        self._directory = gateway.directory
        self._ratio = gateway.ratio
        self._metrics = metrics
        self._page = page
        self._loop = asyncio.get_running_loop()
        self._workers: dict[int, Worker] = {}
        self._numbers = itertools.count(1)
        self._learned: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.ended: Callable[[Record], None] = lambda record: None
        """Told of every request that ended."""
        pool.tell = self.tell

    @property
    def workers(self) -> list[Worker]:
        """Those that are connected."""
        return list(self._workers.values())

    def connect(self, begin: Begin, up: asyncio.Event) -> Worker:
        """A new worker, and what it has to know first."""
        number = next(self._numbers)
        worker = self._workers[number] = Worker(self, number, self._driver, up)
        worker.link.send(begin)
        for entry in self._directory:
            worker.link.send(shown(entry))
        models = {model for entry in self._directory for model in entry.models}
        worker.link.send(self._ratios(models))
        return worker

    def tell(self, message: ToWorker) -> None:
        """Tell all workers."""
        for worker in self._workers.values():
            worker.link.send(message)

    async def gather_counts(self) -> None:
        """Have all workers say now what they have counted."""
        questions = [worker.count() for worker in self._workers.values()]
        if questions:
            await asyncio.wait(questions, timeout=COUNT_SECONDS)

    # What workers say

    def lost(self, worker: Worker) -> None:
        """A worker is gone; its clients are, too."""
        del self._workers[worker.number]
        self._pool.forget_worker(worker.number)
        worker.desk.close()

    def counted(self, counted: Counted) -> None:
        """What a worker has counted."""
        self._metrics.add(counted.tallies)

    def traffic(self, worker: Worker, traffic: Traffic) -> None:
        """What a worker has going on."""
        self._pool.note(worker.number, traffic)

    def fared(self, fared: Fared) -> None:
        """How a backend did with a worker's request."""
        if fared.backend not in self._directory:
            return
        standing, now = self._directory[fared.backend].standing, self._driver.now()
        if fared.status is None:
            standing.failed(now)
        else:
            standing.answered(fared.status, now, fared.in_flight, fared.retry_after)

    def learned(self, learned: Learned) -> None:
        """Learn it for all workers; they are told soon."""
        if not self._learned:
            self._loop.call_later(RATIO_SECONDS, self._tell_ratios)
        self._learned.add(learned.model)
        self._ratio.learn(learned.model, learned.size, learned.tokens)

    def kept(self, worker: Worker, kept: Kept) -> None:
        """Where a response is: any worker may be asked for it."""
        for other in self._workers.values():
            if other is not worker:
                other.link.send(kept)

    def asked(self, worker: Worker, asked: Asked) -> None:
        """A worker's client asks for a page."""
        task = self._loop.create_task(self._answer(worker, asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, worker: Worker, asked: Asked) -> None:
        try:
            reply = await self._show(rebuilt(asked))
        except Exception:
            log.exception("page failed", path=asked.target)
            error = ApiError(500, "The proxy failed; its log says why.", reason="internal")
            reply = response(error, "/v1/", {})
        worker.link.send(
            Answered(asked.number, reply.status, reply.body, reply.content_type, reply.headers)
        )

    async def _show(self, request: Request) -> Reply:
        if request.path == "/metrics":
            await self.gather_counts()
        reply = await self._page(request)
        assert reply is not None  # pages are not streamed
        return reply

    def _tell_ratios(self) -> None:
        self.tell(self._ratios(self._learned))
        self._learned.clear()

    def _ratios(self, models: set[str]) -> Ratios:
        return Ratios({model: self._ratio.bytes_per_token(model) for model in models})


class Worker:
    """One worker as the parent knows it."""

    def __init__(self, hub: Hub, number: int, driver: Driver, up: asyncio.Event) -> None:
        self.number = number
        self.link: ParentLink = Link(to_parent, self._hear, self._lose)
        self.desk = Desk(driver, self.link.send)
        self.listening = up
        self.gone = asyncio.Event()
        self._hub = hub
        self._counting: dict[int, asyncio.Future[None]] = {}
        self._numbers = itertools.count(1)

    def count(self) -> asyncio.Future[None]:
        """Ask what it has counted; done when that has been added."""
        number = next(self._numbers)
        future = self._counting[number] = asyncio.get_running_loop().create_future()
        self.link.send(Count(number))
        return future

    def _hear(self, message: ToParent) -> None:
        match message:
            case Learned():
                self._hub.learned(message)
            case Fared():
                self._hub.fared(message)
            case Traffic():
                self._hub.traffic(self, message)
            case Counted():
                self._hub.counted(message)
                self._settle(message.number)
            case Ended(records):
                for record in records:
                    self._hub.ended(record)
            case Asked():
                self._hub.asked(self, message)
            case Kept():
                self._hub.kept(self, message)
            case Listening():
                self.listening.set()
            case _:
                self.desk.take(message)

    def _lose(self) -> None:
        self.gone.set()
        for number in list(self._counting):
            self._settle(number)
        self._hub.lost(self)

    def _settle(self, number: int) -> None:
        future = self._counting.pop(number, None)
        if future is not None and not future.done():
            future.set_result(None)


def shown(entry: Entry) -> Backend:
    """A backend as workers are told of it."""
    return Backend(entry.config, entry.kind, entry.models, entry.up, entry.draining)
