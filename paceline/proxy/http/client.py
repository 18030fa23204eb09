"""The client's side of a reply: bytes written to its transport, framed as it can read them."""

from __future__ import annotations

import asyncio

from paceline.proxy.http.framing import LAST_CHUNK, Chunked, Framing, Length, UntilClose, chunk
from paceline.proxy.http.heads import reply_head
from paceline.proxy.http.replies import ReplyHead
from paceline.proxy.http.request import Request


class Client:
    """Where one reply goes."""

    __slots__ = ("_http11", "_outbox", "_request", "_transport", "inbound", "reframes", "started")

    def __init__(self, request: Request) -> None:
        inbound = self.inbound = request.inbound
        if inbound.transport is None:
            raise ConnectionResetError("the client is gone")
        self._request = request
        self._transport: asyncio.Transport = inbound.transport
        self._outbox = inbound.outbox
        self._http11 = request.head.http11
        if not self._http11:
            request.keep_alive = False  # it could be asked for, but hardly anybody does
        self.reframes = False
        """Whether a body goes out framed otherwise than it came in."""
        self.started = False
        """Whether any byte of the reply was written."""

    def frame(self, head: ReplyHead, framing: Framing, ours: bytes) -> bytes:
        """The head to send; from here on it is known how the body has to be framed.

        Only HTTP/1.1 clients know chunks: chunked replies are unpacked for older ones, and replies
        that end with the engine's connection are cut into chunks for newer ones.
        """
        chunked = False
        if not isinstance(framing, Length):
            chunked = self._http11
            self.reframes = isinstance(framing, UntilClose if chunked else Chunked)
        return reply_head(head, ours, chunked=chunked, close=not self._request.keep_alive)

    def encode(self, pieces: list[bytes]) -> bytes:
        """What to send for these pieces of payload, where it `reframes`."""
        return b"".join(map(chunk, pieces) if self._http11 else pieces)

    @property
    def path(self) -> str:
        """What was asked."""
        return self._request.path

    @property
    def last(self) -> bytes:
        """What ends a reply that ended with the engine's connection."""
        return LAST_CHUNK if self._http11 else b""

    def write(self, data: bytes) -> None:
        """Send; a client that is going away gets nothing more."""
        if data and not self._transport.is_closing():
            self.started = True
            self._outbox.write(self._transport, data)

    def cut(self, last: bytes) -> None:
        """End a reply that cannot be completed so that it does not look complete.

        `last` is payload that still goes out; the caller knows whether any fits in here.
        """
        if last:
            self.write(chunk(last) if self._http11 else last)
        self._request.keep_alive = False
        self._outbox.flush()
        self._transport.close()

    def abort(self) -> None:
        """Drop the client with whatever waits for it."""
        self._transport.abort()
