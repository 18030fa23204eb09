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
from aiohttp.http import HttpProcessingError, HttpRequestParser

from paceline.proxy.http import checks
from paceline.proxy.http.ahead import MAX_PIPELINED, Ahead, Message
from paceline.proxy.http.errors import ApiError, response
from paceline.proxy.http.outbox import Outbox
from paceline.proxy.http.patience import Patience
from paceline.proxy.http.request import Reply, Request
from paceline.proxy.http.request_line import RequestLines
from paceline.proxy.http.upload import Upload

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
        parser = _parser(self, loop, limits)
        super().__init__(loop, parser)
        self._requests = parser
        self._server = server
        self._gate = gate
        self._handler = handler
        self._unread = unread
        self._limits = limits
        self.outbox = outbox
        """What writes to the client."""
        self._queue = Ahead(limits.memory)
        self.remote = "unknown"
        """The client's IP address."""
        self._upload: Upload | None = None
        self._task: asyncio.Task[None] | None = None
        self._in_parts = False  # the head that comes next has begun in an earlier read
        self._head_begun = False  # it has, and there is no request before it
        self._lines = RequestLines()
        self._held = False  # reading has stopped until the queue is empty
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
        return self._task is None and self._upload is None and not self._queue

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
        self._queue.clear()
        del self._requests, self._parser
        self._wake_writer()

    def data_received(self, data: bytes) -> None:
        if self._last:
            return
        if self._upload is not None:
            self._upload.raw += len(data)
        try:
            messages, upgraded, _ = self._requests.feed_data(data)
        except HttpProcessingError as error:
            self._refuse(ApiError(400, error.message, reason="bad_request"))
            return
        if self._lines.misread(data, messages):
            self._refuse(checks.odd_request_line())
            return
        self._queue.add(self._heads(data, messages))
        if upgraded:
            self._last = True  # what follows is not HTTP; the one before is still answered
        if self._upload is not None:
            self._take_in(self._upload)
        elif self._task is None:
            self._next()
        if self._queue:
            self._read_ahead()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Called at the end of each body, though none is so long that its reader pauses."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

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
        if self._current is not None and not self._queue:
            self._current.keep_alive = False  # unless its head has gone already
        if self._idle and self._served:
            self._patience.wait(LINGER_SECONDS)

    def abort(self) -> None:
        """Drop the client, and what is done for it."""
        if self.transport is not None:
            self.transport.abort()

    # One request after the other

    def _next(self) -> None:
        """Take up the request that came first, if there is one."""
        if not self._queue or self.transport is None:
            return
        message, reader = self._queue.pop()
        self._requests.message_consumed()
        request = self._current = Request(message, self, self.remote)
        if self._ending and not self._queue:
            request.keep_alive = False
        try:
            checks.check(request, self._limits)
            self._gate(request)
        except ApiError as error:
            self._refuse(error, request)
            return
        if b"expect" in request.noted and request.http11:
            self.outbox.write(self.transport, b"HTTP/1.1 100 Continue\r\n\r\n")
        self._upload = Upload(request, reader, self._limits, self._loop.time())
        self._take_in(self._upload)
        if self._held and not self._queue:
            self._read_on()

    def _take_in(self, upload: Upload) -> None:
        """More of a body came."""
        try:
            upload.check()
        except ApiError as error:
            self._refuse(error, upload.request)
            return
        if upload.complete:
            self._upload = None
            self._patience.rest()
            self._task = self._loop.create_task(self._answer(upload.request))
            upload.request.body = upload.body()
        else:
            self._patience.until(upload.due(self._loop.time()))

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
        if (keep and not self._last) or (self._queue and request.keep_alive):
            self._patience.wait(LINGER_SECONDS if self._ending else self._limits.idle_seconds)
            self._next()
        else:
            self._last = True
            self.outbox.flush()
            self.transport.close()
            self._patience.wait(self._limits.idle_seconds)  # for a client that reads no answers

    def _read_ahead(self) -> None:
        """Requests wait for their turn."""
        try:
            self._queue.count()
        except ApiError as error:
            self._queue.clear()  # those before it are answered
            self._refuse(error)
        if self._queue.full and self.transport is not None:
            self._held = True
            self.transport.pause_reading()

    def _read_on(self) -> None:
        """The last of those read ahead was taken up: have the next ones."""
        self._held = False
        if self.transport is not None:
            self.transport.resume_reading()
            self.data_received(b"")  # the parser has kept what was behind the last one

    def _heads(self, data: bytes, messages: list[Message]) -> list[Message]:
        """Those that ended in `data` and may be answered; one that has begun must end in time."""
        if messages:
            if self._in_parts or len(data) > self._limits.head:
                messages = self._checked(messages)
            self._head_begun = False
        elif data and self._idle and not self._head_begun:
            self._head_begun = True
            self._patience.wait(self._limits.head_seconds)
        if data:
            self._in_parts = not messages
        return messages

    def _checked(self, messages: list[Message]) -> list[Message]:
        """Those before the first whose head is too large; that one is refused."""
        for index, (message, _) in enumerate(messages):
            if checks.head_size(message) > self._limits.head:
                self._refuse(checks.head_too_large())
                return messages[:index]
        return messages

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


def _parser(
    inbound: Inbound, loop: asyncio.AbstractEventLoop, limits: checks.Limits
) -> HttpRequestParser:
    return HttpRequestParser(
        inbound,
        loop,
        limits.body,  # the reader never pauses: a body is checked against its limit as it comes
        max_line_size=limits.head,
        max_field_size=limits.head,
        payload_exception=ConnectionError,
        auto_decompress=False,
        max_msg_queue_size=MAX_PIPELINED,
    )
