"""A worker process: accepts connections, parses, relays and logs; its parent decides."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys

import structlog

from paceline.proxy.process.collector import spare_the_collector
from paceline.proxy.process.heap import keep_the_heap
from paceline.proxy.process.listen import listening, open_files, run_loop, stop_signal
from paceline.proxy.process.load import ConfigError
from paceline.proxy.process.secure import secure
from paceline.proxy.telemetry import log
from paceline.proxy.workers.link import Link
from paceline.proxy.workers.messages import (
    Begin,
    Count,
    Counted,
    Finish,
    Listening,
    Reloaded,
    ToParent,
    ToWorker,
    to_worker,
)
from paceline.proxy.workers.part import Part
from paceline.proxy.workers.traffic import REPORT_SECONDS, Reporter

COUNT_SECONDS = 1.0
"""How often the parent is told what was counted: that much is lost with a worker that is killed."""


class Worker:
    """One worker's life, from its first message to its last stream."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.link: Link[ToParent, ToWorker] = Link(to_worker, self._hear, self._lost)
        self._begun: asyncio.Future[Begin | None] = loop.create_future()
        """None: the parent was gone before it began."""
        self._over = asyncio.Event()
        self._early: list[ToWorker] = []
        self._part: Part | None = None

    async def live(self) -> None:
        """Serve until the parent says so, is gone, or a signal comes."""
        begin = await self._begun
        if begin is None:
            return
        log.configure(begin.config.log)
        security = secure(begin.config)
        part = self._part = Part(begin, security, self.link.send)
        for message in self._early:
            self._take(part, message)
        async with listening(part.server, begin.host, begin.port, security.tls, shared=True):
            self.link.send(Listening())
            reporting = [
                asyncio.create_task(self._report(part)),
                asyncio.create_task(self._count(part)),
            ]
            await self._over.wait()
        for task in reporting:
            task.cancel()
        await part.close()
        self.link.send(Counted(part.metrics.take()))
        self.link.close()

    @property
    def part(self) -> Part:
        """What it serves with, once it does."""
        assert self._part is not None
        return self._part

    def stop(self) -> None:
        """Take no more connections, drain, and end."""
        self._over.set()

    def _hear(self, message: ToWorker) -> None:
        if isinstance(message, Begin):
            self._begun.set_result(message)
        elif isinstance(message, Finish):
            self.stop()
        elif self._part is None:
            self._early.append(message)
        else:
            self._take(self._part, message)

    def _take(self, part: Part, message: ToWorker) -> None:
        if isinstance(message, Count):
            self.link.send(Counted(part.metrics.take(), message.number))
        elif isinstance(message, Reloaded):
            try:
                part.reload(message.config)
            except ConfigError as error:
                structlog.get_logger().error("worker keeps its settings", error=str(error))
        else:
            part.take(message)

    def _lost(self) -> None:
        """The parent is gone: nobody decides any more, and the next one needs the port."""
        if self._part is not None:
            self._part.abandon()
        if not self._begun.done():
            self._begun.set_result(None)
        self.stop()

    async def _report(self, part: Part) -> None:
        reporter = Reporter(part.gateway.pool, lambda: [one.id for one in part.gateway.directory])
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            for change in reporter.changes():
                self.link.send(change)

    async def _count(self, part: Part) -> None:
        while True:
            await asyncio.sleep(COUNT_SECONDS)
            self.link.send(Counted(part.metrics.take()))
            self.link.send(part.take_ended())


async def work(end: socket.socket) -> None:
    """Be the worker at this end of a socket."""
    loop = asyncio.get_running_loop()
    with stop_signal() as stopped:
        worker = Worker()
        stopped.add_done_callback(lambda _: worker.stop())
        await loop.create_connection(lambda: worker.link, sock=end)
        keep_the_heap()
        spare_the_collector()
        await worker.live()


def main() -> None:
    """`python -m paceline.proxy.workers.worker FD`: the parent starts it so."""
    open_files()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the parent reloads, and tells
    end = socket.socket(fileno=int(sys.argv[1]))
    end.setblocking(False)
    run_loop(work(end))


if __name__ == "__main__":
    main()
