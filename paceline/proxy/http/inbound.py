"""A client's connection: aiohttp's strict parser in front, one request after the other behind it.

aiohttp's own server does this with two tasks, a router and a dozen objects a request;
here one task a request is all, and none while a body is still coming.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog
from aiohttp.base_protocol import BaseProtocol

from paceline.proxy.http import checks
from paceline.proxy.http.ahead import Ahead
from paceline.proxy.http.errors import ApiError, response
from paceline.proxy.http.head_reader import HeadReader
from paceline.proxy.http.outbox import Outbox
from paceline.proxy.http.patience import Patience
from paceline.proxy.http.request import Reply, Request
from paceline.proxy.http.upload import ChunkedUpload, Upload

LINGER_SECONDS = 1.0
"""How long a connection without a request is kept once the proxy stops: the next request may be on
its way, and would be lost."""
MAX_UNSENT = 1 << 17
"""Bytes that the kernel holds for a client beyond what is on its way to it. Left alone it takes
megabytes for one that hardly reads, and 1,500 of those put all of TCP under memory pressure."""

Handler = Callable[[Request], Awaitable[Reply | None]]
"""Gives the answer, or None once it has been written."""
Unread = Callable[[Request, ApiError | None], Reply | None]
"""Hears of a request that is not read to its end, and why; None: because the client left."""
Gate = Callable[[Request], None]
"""Looks at a head before the body is read; raises ApiError."""

log = structlog.get_logger()


class Connections(Protocol):
    """Who keeps count of the connections: the server."""

    def add(self, inbound: Inbound, /) -> ApiError | None:
        """This one has begun; the answer if it is one too many."""
        ...

    def discard(self, inbound: Inbound, /) -> None:
        """This one has ended."""
        ...


def remote_of(transport: asyncio.BaseTransport) -> str:
    """The client's IP address."""
    peer = transport.get_extra_info("peername")
    return peer[0] if isinstance(peer, tuple) else "unknown"


class Inbound(BaseProtocol):
    """One connection from a client."""

    def __init__(
        self,
        server: Connections,
        gate: Gate,
        handler: Handler,
        unread: Unread,
        limits: checks.Limits,
        outbox: Outbox,
    ) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(loop)
        self._server = server
        self._gate = gate
        self._handler = handler
        self._unread = unread
        self._limits = limits
        self._heads = HeadReader(BaseProtocol(loop), loop, limits.head)
        self._ahead = Ahead(limits.memory)
        self.outbox = outbox
        """What writes to the client."""
        self.remote = "unknown"
        """The client's IP address."""
        self._upload: Upload | None = None
        self._task: asyncio.Task[None] | None = None
        self._head_begun = False  # the next request's, and it has to end in time
        self._held = False  # reading has stopped until what came ahead has its turn
        self._last = False  # nothing that is still to come is read
        self._served = False  # a request was answered
        self._ending = False  # the next answer is the last one
        self._current: Request | None = None
        self._patience = Patience(loop, self._late)
        self._drained: asyncio.Future[None] | None = None
        self.slow = False
        """Whether more than 64 KiB wait for the client (asyncio's high-water mark)."""

    @property
    def _idle(self) -> bool:
        """Whether there is no request, though one may have begun to come."""
        return self._task is None and self._upload is None

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.remote = remote_of(transport)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MAX_UNSENT)
        refused = self._server.add(self)
        if refused is None:
            self._patience.wait(self._limits.head_seconds)
        else:
            self._refuse(refused)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._last = True
        self._server.discard(self)
        self._patience.end()
        if self._task is not None:
            self._task.cancel()
        if self._upload is not None:
            self._unread(self._upload.request, None)
        # All these refer back to here; bodies must not wait for the collector to find that out.
        self._task = self._upload = self._current = None
        self._ahead.take()
        self._wake_writer()

    def data_received(self, data: bytes) -> None:
        if self._last:
            return
        if self._upload is not None:
            self._take_in(self._upload, data)
        elif self._task is not None:
            self._read_ahead(data)
        else:
            self._read(data)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.slow = True
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.slow = False
        self._wake_writer()

    # For those who answer

    async def drain(self) -> None:
        """Wait until the client has read most of what waits for it, or is gone."""
        if self._drained is not None:
            await self._drained

    def finish(self) -> None:
        """Close behind the next answer; soon, if nothing is asked."""
        self._ending = True
        if self._current is not None and not self._ahead.data:
            self._current.keep_alive = False  # unless its head has gone already
        if self._idle and self._served:
            self._patience.wait(LINGER_SECONDS)

    def abort(self) -> None:
        """Drop the client, and what is done for it."""
        if self.transport is not None:
            self.transport.abort()

    # One request after the other

    def _read(self, data: bytes) -> None:
        """More of a head came, and maybe something behind it."""
        try:
            read = self._heads.read(data)
        except ApiError as error:
            self._refuse(error)
            return
        if read is not None:
            self._head_begun = False
            head, length, behind = read
            self._take_up(Request(head, self, self.remote, length), behind)
        elif not self._head_begun:
            self._head_begun = True
            self._patience.wait(self._limits.head_seconds)

    def _take_up(self, request: Request, data: bytes) -> None:
        """Look at a head, then have the body that begins with `data`."""
        self._current = request
        noted, length = request.noted, request.length
        try:
            if not request.head.checked:
                checks.check(request.head)
            checks.take_in(request, length, self._limits)
            self._gate(request)
        except ApiError as error:
            self._refuse(error, request)
            return
        if b"expect" in noted and request.head.http11 and self.transport is not None:
            self.outbox.write(self.transport, b"HTTP/1.1 100 Continue\r\n\r\n")
        if b"transfer-encoding" in noted:
            self._upload = ChunkedUpload(request, self._limits, self._loop)
        elif len(data) < length:
            self._upload = Upload(request, self._limits, self._loop.time())
        else:
            self._begin(request, data[:length], data[length:])
            return
        self._take_in(self._upload, data)

    def _take_in(self, upload: Upload, data: bytes) -> None:
        """More of a body came."""
        try:
            behind = upload.feed(data)
        except ApiError as error:
            self._refuse(error, upload.request)
            return
        if upload.complete:
            self._upload = None
            self._begin(upload.request, upload.body(), behind)
        else:
            self._patience.until(upload.due(self._loop.time()))

    def _begin(self, request: Request, body: bytes, behind: bytes) -> None:
        """A request is whole: have it answered."""
        request.body = body
        self._patience.rest()
        self._task = self._loop.create_task(self._answer(request))
        if behind:
            self._read_ahead(behind)
        elif self._ending:
            request.keep_alive = False

    async def _answer(self, request: Request) -> None:
        """Have one request answered, then go on with the next."""
        try:
            reply = await self._handler(request)
        except Exception:
            log.exception("request failed", path=request.path)
            request.keep_alive = False
            error = ApiError(500, "The proxy failed; its log says why.", reason="internal")
            reply = response(error, request.path, {})
        if self.transport is None or self.transport.is_closing():
            return  # such as a reply that was cut short
        keep = request.keep_alive and not self._last
        if reply is not None:
            bodiless = request.method == "HEAD"
            self.outbox.write(self.transport, reply.encode(keep_alive=keep, bodiless=bodiless))
        if self._drained is not None:  # who reads no answers gets no more of them
            self._patience.wait(self._limits.idle_seconds)
            await self._drained
            if self.transport is None or self.transport.is_closing():
                return
        self._task = self._current = None
        self._served = True
        if keep and not self._last:
            self._patience.wait(LINGER_SECONDS if self._ending else self._limits.idle_seconds)
            if self._ahead.data:
                self._next()
        else:
            self._last = True
            self.outbox.flush()
            self.transport.close()
            self._patience.wait(self._limits.idle_seconds)  # for a client that reads no answers

    def _read_ahead(self, data: bytes) -> None:
        """What came has to wait for its turn."""
        try:
            self._ahead.add(data)
        except ApiError as error:
            self._ahead.take()  # the one before it is answered
            self._refuse(error)
        if self._ahead.full and self.transport is not None:
            self._held = True
            self.transport.pause_reading()

    def _next(self) -> None:
        """What came ahead has its turn."""
        if self._held and self.transport is not None:
            self._held = False
            self.transport.resume_reading()
        self._read(self._ahead.take())

    def _refuse(self, error: ApiError, request: Request | None = None) -> None:
        """Answer what cannot be a request, or not be read to its end: the connection ends."""
        self._last = True
        self._upload = None
        if self._task is None and self.transport is not None:
            told = None if request is None else self._unread(request, error)
            reply = told or response(error, "/v1/", {})
            bodiless = request is not None and request.method == "HEAD"
            self.outbox.write(self.transport, reply.encode(keep_alive=False, bodiless=bodiless))
            self._hang_up()

    def _hang_up(self) -> None:
        """Close, but read on for a while: to close on unread bytes would take the answer back."""
        assert self.transport is not None
        self.outbox.flush()
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._patience.wait(LINGER_SECONDS)
        else:
            self.transport.close()

    def _late(self) -> None:
        """The client took too long."""
        if self.transport is None:
            return
        if self._last:
            self.transport.abort()  # it does not even read
        elif self._upload is not None:
            late = ApiError(408, "The request's body did not come.", reason="timeout")
            self._refuse(late, self._upload.request)
        elif self._head_begun:
            self._refuse(ApiError(408, "The request's head did not come.", reason="timeout"))
        else:
            self._last = True
            self.transport.close()
            self._patience.wait(LINGER_SECONDS)

    def _wake_writer(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None
