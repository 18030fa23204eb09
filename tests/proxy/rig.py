"""A proxy on a real socket with scripted engines behind it and a stand-in for the scheduler."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, cast

from paceline.proxy.access.quotas import Quotas
from paceline.proxy.config import BackendConfig, Config
from paceline.proxy.http.memory import Memory
from paceline.proxy.process.secure import secure
from paceline.proxy.routes.admin import Admin
from paceline.proxy.routes.app import build_server
from paceline.proxy.serving.gateway import FullGateway, Gateway
from paceline.proxy.serving.ratio import TokenRatio
from paceline.proxy.serving.tokenizing import Tokenizers
from paceline.proxy.telemetry.record import Record
from paceline.proxy.ui.page import Dashboard
from paceline.proxy.upstream.backends import Backends
from paceline.proxy.upstream.directory import Directory
from paceline.proxy.upstream.monitor import Monitor
from paceline.proxy.upstream.pool import Pool
from paceline.proxy.upstream.retries import RetryBudget
from paceline.scheduler.events import Dispatch, Reject
from paceline.scheduler.types import Request, Usage
from tests.proxy.scripted import Script, Scripted, engine

if TYPE_CHECKING:
    from paceline.proxy.serving.driver import Driver

CHAT = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'


class FakeDriver:
    """Dispatches to the backends in turn, and logs what it is told."""

    def __init__(self, backends: Sequence[str]) -> None:
        self.log: list[str] = []
        self.usage: Usage | None = None
        self.prefix: tuple[int, ...] = ()
        self.refusal: Reject | None = None
        self.gate: asyncio.Future[None] | None = None
        """Requests wait for it, when there is one."""
        self.waiting = asyncio.Event()
        self._backends = list(backends)
        self._turn = 0

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def admit(self, request: Request) -> Dispatch | Reject | None:
        self.log.append("admit")
        return self._decide(request.id) if self.gate is None else None

    def retry(self, id: str) -> Dispatch | Reject | None:
        self.log.append("retry")
        return self._decide(id) if self.gate is None else None

    async def wait(self, id: str) -> Dispatch | Reject:
        assert self.gate is not None
        self.waiting.set()
        try:
            await self.gate
        except asyncio.CancelledError:
            self.cancelled(id)
            raise
        return self._decide(id)

    def first_byte(self, id: str) -> None:
        self.log.append("first_byte")

    def finished(self, id: str, usage: Usage, prefix: tuple[int, ...] = ()) -> None:
        self.usage = usage
        self.prefix = prefix
        self.log.append("finished")

    def failed(self, id: str) -> None:
        self.log.append("failed")

    def cancelled(self, id: str) -> None:
        self.log.append("cancelled")

    def _decide(self, id: str) -> Dispatch | Reject:
        if self.refusal is not None:
            return self.refusal
        backend = self._backends[self._turn % len(self._backends)]
        self._turn += 1
        return Dispatch(id, backend, cached_tokens=7, waited=0.25, reason="idle")


class Proxy:
    """The proxy under test."""

    def __init__(self, port: int, gateway: Gateway, driver: FakeDriver) -> None:
        self.port = port
        self.gateway = gateway
        self.driver = driver
        self.records: asyncio.Queue[Record] = asyncio.Queue()
        self.engines: list[Scripted] = []
        self._callers: list[Caller] = []

    async def dial(self) -> Caller:
        """A new connection to it."""
        caller = Caller(*await asyncio.open_connection("127.0.0.1", self.port))
        self._callers.append(caller)
        return caller

    async def forget_callers(self) -> None:
        """Close what tests left open."""
        for caller in self._callers:
            caller.hang_up()
            with suppress(ConnectionError):
                await caller.writer.wait_closed()

    async def ask(self, body: bytes = CHAT, path: str = "/v1/chat/completions") -> Answer:
        """The answer to one POST on a connection of its own."""
        caller = await self.dial()
        await caller.post(body, path)
        return await caller.answer()


class Answer:
    """One reply, as the client got it."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self.raw_head = head.decode("latin-1")
        self.body = body
        self.status = int(head.split(b" ", 2)[1])

    def headers(self, name: str) -> list[str]:
        """All values of a header."""
        lines = [line.partition(": ") for line in self.raw_head.split("\r\n")[1:]]
        return [value for key, _, value in lines if key.lower() == name]


class Caller:
    """A client that speaks raw HTTP."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, data: bytes) -> None:
        """Send raw bytes."""
        self.writer.write(data)

    async def post(
        self, body: bytes = CHAT, path: str = "/v1/chat/completions", *lines: str
    ) -> None:
        """Send a POST."""
        head = [f"POST {path} HTTP/1.1", "Host: proxy", *lines, f"Content-Length: {len(body)}"]
        self.say("\r\n".join([*head, "", ""]).encode("latin-1") + body)
        await self.writer.drain()

    async def head(self) -> bytes:
        """The next reply's head."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def answer(self) -> Answer:
        """The next reply, framed by its Content-Length or by chunks (which are kept)."""
        head = await self.head()
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            return Answer(head, await self.reader.readuntil(b"\r\n0\r\n\r\n"))
        if b"content-length: " in lower:
            length = int(lower.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            return Answer(head, await self.reader.readexactly(length))
        return Answer(head, b"")

    async def rest(self) -> bytes:
        """Everything up to the proxy's closing of the connection."""
        return await self.reader.read(-1)

    def hang_up(self) -> None:
        """Go away at once."""
        self.writer.transport.abort()


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def proxied(
    *scripts: Script | int, config: Config | None = None, quotas: Quotas | None = None
) -> AsyncIterator[Proxy]:
    """A proxy before one engine a script; an int is the port of an engine that is not there."""
    config = config or Config()
    async with AsyncExitStack() as stack:
        engines = [
            s if isinstance(s, int) else await stack.enter_async_context(engine(s)) for s in scripts
        ]
        ports = [one if isinstance(one, int) else one.port for one in engines]
        directory = Directory(
            [
                BackendConfig(url=f"http://127.0.0.1:{port}", name=f"e{i}")
                for i, port in enumerate(ports)
            ]
        )
        for entry in directory:
            entry.up, entry.models = True, ("m",)
        loop = asyncio.get_running_loop()
        driver = FakeDriver([entry.id for entry in directory])
        pool = Pool(config.upstream, loop)
        security = secure(config)
        monitor = Monitor(directory, cast("Driver", driver), pool, config.upstream)
        backends = Backends(directory, cast("Driver", driver), pool, monitor)
        gateway = FullGateway(
            config=config,
            driver=cast("Driver", driver),
            pool=pool,
            directory=directory,
            on_record=lambda record: proxy.records.put_nowait(record),
            ratio=TokenRatio(),
            retries=RetryBudget(loop.time()),
            memory=Memory(int(config.server.max_buffered_mb * 2**20), lambda: 3.0),
            quotas=quotas,
            seed=b"seed",
            access=security.access,
            salts=security.salts,
            cors=security.cors,
            tokenizers=Tokenizers({}),
            admin=Admin(backends, security.hosts),
            ready=lambda: bool(directory.up()),
            metrics=lambda: (b"metric 1\n", "text/plain; version=0.0.4"),
            state=lambda: b'{"waiting":0}',
            dashboard=Dashboard(lambda: b"{}"),
        )
        server = build_server(gateway)
        listener = await loop.create_server(server.connection, "127.0.0.1", 0)
        proxy = Proxy(listener.sockets[0].getsockname()[1], gateway, driver)
        proxy.engines = [one for one in engines if isinstance(one, Scripted)]
        try:
            yield proxy
        finally:
            await proxy.forget_callers()
            pool.close()
            listener.close()
            await server.drain()
