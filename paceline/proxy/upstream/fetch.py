"""Small GET requests of the proxy's own, over the same connections as everything else."""

from __future__ import annotations

import asyncio

from msgspec import Struct

from paceline.proxy.http.framing import BadFraming, Framing, Length, UntilClose
from paceline.proxy.http.replies import BadReply, ReplyHead, framing_of, split_head
from paceline.proxy.upstream.address import Address
from paceline.proxy.upstream.connection import Connection
from paceline.proxy.upstream.pool import ConnectFailed, Pool

MAX_BODY = 4 * 2**20
"""Bytes taken of a body: lists of models are a few kB."""


class FetchFailed(Exception):
    """No reply that could be read."""


class Fetched(Struct, frozen=True):
    """A whole reply."""

    status: int
    body: bytes


async def fetch(pool: Pool, backend: Address, head: bytes) -> Fetched:
    """Send the GET in `head` and read its reply; raises FetchFailed.

    Always on a new connection: it is rare, and so needs no care about kept ones being closed.
    """
    try:
        connection = await pool.connect(backend)
    except ConnectFailed as error:
        raise FetchFailed(str(error)) from None
    try:
        return await _Fetch().run(connection, head)
    finally:
        connection.abort()


class _Fetch:
    """Collects one reply."""

    def __init__(self) -> None:
        self._head: ReplyHead | None = None
        self._framing: Framing = Length(0)
        self._data = b""
        self._body = bytearray()
        self._done: asyncio.Future[Fetched] = asyncio.get_running_loop().create_future()

    async def run(self, connection: Connection, head: bytes) -> Fetched:
        connection.send(head, b"", self)
        return await self._done

    def received(self, data: bytes) -> None:
        """The engine sent `data`."""
        try:
            self._take(data)
        except (BadReply, BadFraming) as error:
            self._fail(str(error))

    def lost(self, error: Exception | None) -> None:
        """The engine's connection is gone."""
        if isinstance(self._framing, UntilClose) and error is None:
            self._finish()
        else:
            self._fail("the engine closed the connection")

    def stalled(self) -> None:
        """The engine hangs."""
        self._fail("the engine hangs")

    def _take(self, data: bytes) -> None:
        if self._head is None:
            self._head, self._data = split_head(self._data + data)
            if self._head is None:
                return
            self._framing = framing_of(self._head, "GET")
            data = self._data
        for piece in self._framing.feed(data):
            self._body += piece
        if len(self._body) > MAX_BODY:
            self._fail("the reply is too large")
        elif self._framing.complete:
            self._finish()

    def _finish(self) -> None:
        if self._head is not None and not self._done.done():
            self._done.set_result(Fetched(self._head.status, bytes(self._body)))

    def _fail(self, message: str) -> None:
        if not self._done.done():
            self._done.set_exception(FetchFailed(message))
