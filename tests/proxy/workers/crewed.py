"""A parent and two workers in this process: real sockets between them, clients and engines."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import structs

from paceline.proxy.config import Config
from paceline.proxy.process.listen import reserved
from paceline.proxy.workers.hub import Worker as Known
from paceline.proxy.workers.messages import Finish
from paceline.proxy.workers.parent import Parent
from paceline.proxy.workers.worker import Worker
from tests.proxy.rig import Answer, Caller
from tests.proxy.whole import Whole

WORKERS = 2


class Crewed(Whole):
    """The parent and its workers, each as the other knows it."""

    def __init__(self, parent: Parent, port: int) -> None:
        super().__init__(parent, f":{port}")
        self.parent = parent
        self.known: list[Known] = []
        self.workers: list[Worker] = []
        self.lives: list[asyncio.Task[None]] = []

    async def employ(self) -> None:
        """One worker more, which listens."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        up = asyncio.Event()
        known, worker = self.parent.connect("127.0.0.1", self.port, up), Worker()
        await loop.create_connection(lambda: known.link, sock=ours)
        await loop.create_connection(lambda: worker.link, sock=theirs)
        self.known.append(known)
        self.workers.append(worker)
        self.lives.append(asyncio.create_task(worker.live()))
        await up.wait()

    async def chats(self, count: int) -> list[Answer]:
        """The answers to so many chats, on a connection each."""
        return await asyncio.gather(*(self.chat() for _ in range(count)))

    async def stream(self) -> tuple[Caller, str]:
        """A chat whose answer has begun, and its request id."""
        caller = await self.dial()
        await caller.post()
        head = await caller.head()
        await caller.reader.readuntil(b"\n\n")
        return caller, Answer(head, b"").headers("x-request-id")[0]


@asynccontextmanager
async def crewed(config: Config) -> AsyncIterator[Crewed]:
    """The proxy that `config` describes, with `WORKERS` workers, its backends up."""
    server = structs.replace(config.server, workers=WORKERS, drain_seconds=1.0)
    parent = Parent(structs.replace(config, server=server))
    parent.monitor.start()
    async with reserved("127.0.0.1", 0, shared=False) as port:
        made = Crewed(parent, port)
        for _ in range(WORKERS):
            await made.employ()
        await parent.settled()
        try:
            yield made
        finally:
            parent.hub.tell(Finish())
            await asyncio.gather(*made.lives)
            await asyncio.gather(*(known.gone.wait() for known in made.known))
            await parent.close()
