"""The client's side of a reply: bytes written to its transport, framed as it can read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from paceline.proxy.framing import LAST_CHUNK, Chunked, Framing, UntilClose, chunk
from paceline.proxy.heads import reply_head
from paceline.proxy.replies import ReplyHead

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter


class Sent(web.StreamResponse):
    """Tells aiohttp that the reply has been written already, and whether to keep the connection."""

    def __init__(self, keep: bool) -> None:
        super().__init__()
        self._keep = keep

    @property
    def keep_alive(self) -> bool:
        """Whether another request may come on this connection."""
        return self._keep

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Nothing is left to do."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to do."""


KEEP = Sent(True)
CLOSE = Sent(False)


class Client:
    """Where one reply goes."""

    def __init__(self, request: web.BaseRequest) -> None:
        if request.transport is None:
            raise ConnectionResetError("the client is gone")
        self._transport = request.transport
        self._protocol = request.protocol
        self._writer = request.writer
        self._http11 = request.version >= (1, 1)
        self._close = not (self._http11 and request.keep_alive)
        self._reframe = False
        self.started = False
        """Whether any byte of the reply was written."""

    def frame(self, head: ReplyHead, framing: Framing, ours: bytes) -> bytes:
        """The head to send; from here on `encode` knows how the body has to be framed.

        Only HTTP/1.1 clients know chunks: chunked replies are unpacked for older ones, and replies
        that end with the engine's connection are cut into chunks for newer ones.
        """
        endless = isinstance(framing, Chunked | UntilClose)
        self._reframe = isinstance(framing, UntilClose if self._http11 else Chunked)
        return reply_head(head, ours, chunked=endless and self._http11, close=self._close)

    def encode(self, data: bytes, pieces: list[bytes]) -> bytes:
        """What to send for `data` of the engine's, in which `pieces` are payload."""
        if not self._reframe:
            return data
        return b"".join(map(chunk, pieces) if self._http11 else pieces)

    @property
    def last(self) -> bytes:
        """What ends a reply that ended with the engine's connection."""
        return LAST_CHUNK if self._http11 else b""

    def write(self, data: bytes) -> None:
        """Send; a client that is going away gets nothing more."""
        if data and not self._transport.is_closing():
            self.started = True
            self._transport.write(data)

    @property
    def slow(self) -> bool:
        """Whether more than 64 KiB wait for the client (asyncio's high-water mark)."""
        return self._protocol.writing_paused

    async def drain(self) -> None:
        """Wait until the client has read most of what waits."""
        await self._writer.drain()

    def cut(self, last: bytes) -> None:
        """End a reply that cannot be completed so that it does not look complete.

        `last` is payload that still goes out; the caller knows whether any fits in here.
        """
        if last:
            self.write(chunk(last) if self._http11 else last)
        self._close = True
        self._transport.close()

    def abort(self) -> None:
        """Drop the client with whatever waits for it."""
        self._transport.abort()

    @property
    def response(self) -> Sent:
        """What the handler returns once the reply is written."""
        return CLOSE if self._close else KEEP
