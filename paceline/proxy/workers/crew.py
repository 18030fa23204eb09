"""Starts the worker processes, starts those anew that die, and sees them off at the end."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from paceline.proxy.config import Config
from paceline.proxy.http.server import CUT_SECONDS
from paceline.proxy.process.listen import base_url, reserved
from paceline.proxy.workers.messages import Finish
from paceline.proxy.workers.parent import Parent

COMMAND = (sys.executable, "-m", "paceline.proxy.workers.worker")
AGAIN_SECONDS = 1.0
"""Least time between two starts of the same worker: one that cannot start must not cost a core."""
END_SECONDS = 5.0
"""How long a process may take to end once its last stream has; then it is killed."""

log = structlog.get_logger()


@asynccontextmanager
async def staffed(parent: Parent, config: Config, *, shared: bool) -> AsyncIterator[str]:
    """Have workers serve the port inside the block; yields the base URL. Raises CannotListen.

    On the way out they drain, as a single process would.
    """
    at = config.server
    async with reserved(at.host, at.port, shared=shared) as port:
        crew = Crew(parent, at.host, port)
        try:
            await crew.start(at.workers)
            url = base_url(at.host, port)
            yield url.replace("http:", "https:", 1) if config.tls.cert_file else url
        finally:
            await crew.finish(parent.gateway.config.server.drain_seconds)


class Crew:
    """The processes."""

    def __init__(self, parent: Parent, host: str, port: int) -> None:
        self.processes: set[Process] = set()
        """Those that run."""
        self._parent = parent
        self._host = host
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._keepers: list[asyncio.Task[None]] = []
        self._finishing = asyncio.Event()

    async def start(self, count: int) -> None:
        """Start so many; returns when all of them listen."""
        up = [asyncio.Event() for _ in range(count)]
        self._keepers = [self._loop.create_task(self._keep(one)) for one in up]
        for one in up:
            await one.wait()

    async def finish(self, drain_seconds: float) -> None:
        """Have them drain and end; kill those that do not."""
        self._finishing.set()
        self._parent.hub.tell(Finish())
        if self._keepers:
            patience = drain_seconds + CUT_SECONDS + END_SECONDS
            await asyncio.wait(self._keepers, timeout=patience)
        for process in self.processes:
            process.kill()
        await asyncio.gather(*self._keepers)

    async def _keep(self, up: asyncio.Event) -> None:
        """Have one worker, whatever becomes of it."""
        while not self._finishing.is_set():
            again_at = self._loop.time() + AGAIN_SECONDS
            code = await self._employ(up)
            if not self._finishing.is_set():
                log.error("worker ended", status=code)
                self._parent.worker_restarted()
                await self._pause(again_at - self._loop.time())

    async def _employ(self, up: asyncio.Event) -> int:
        """Start a worker; returns its exit status."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await self._spawn(theirs.fileno())
        self.processes.add(process)
        worker = self._parent.connect(self._host, self._port, up)
        await self._loop.create_connection(lambda: worker.link, sock=ours)
        if self._finishing.is_set():
            worker.link.send(Finish())
        code = await process.wait()
        self.processes.discard(process)
        await worker.gone.wait()
        return code

    async def _spawn(self, end: int) -> Process:
        """A process of its own session: what a terminal says is for the parent alone."""
        return await asyncio.create_subprocess_exec(
            *(*COMMAND, str(end)),
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=(end,),
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            waiting = self._loop.create_task(self._finishing.wait())
            await asyncio.wait([waiting], timeout=seconds)
            waiting.cancel()
