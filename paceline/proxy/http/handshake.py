"""A connection that is to speak TLS: counted from its first packet, with time to shake hands."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import TYPE_CHECKING, cast

from paceline.proxy.http.inbound import Inbound, remote_of

if TYPE_CHECKING:
    from paceline.proxy.http.errors import ApiError
    from paceline.proxy.http.server import Server

HANDSHAKE_SECONDS = 10.0
"""Longest TLS handshake: a few round trips, for clients on slow lines."""


class Handshake(asyncio.Protocol):
    """Holds the place of an `Inbound` until the hands are shaken.

    A loop's own TLS server tells nobody of connections that are not that far. One too many is
    closed without a word: a handshake costs more than the answer to most requests.
    """

    def __init__(self, server: Server, context: ssl.SSLContext) -> None:
        self.remote = "unknown"
        self._server = server
        self._context = context
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected: take its socket over, before anything is read from it."""
        self.remote = remote_of(transport)
        if self._server.add(self) is None:
            taken = os.dup(transport.get_extra_info("socket").fileno())
            shaking = self._shake(socket.socket(fileno=taken))
            self._task = asyncio.get_running_loop().create_task(shaking)
            self._task.add_done_callback(lambda _: self._server.discard(self))
        else:
            self._server.discard(self)
        cast(asyncio.Transport, transport).abort()  # uvloop's is none by name

    def finish(self) -> None:
        """Its one answer is still to come."""

    def abort(self) -> None:
        """Drop the client."""
        if self._task is not None:
            self._task.cancel()

    # What counts an Inbound

    def add(self, inbound: Inbound) -> ApiError | None:
        """It takes this one's place."""
        self._server.replace(self, inbound)
        return None

    def discard(self, inbound: Inbound) -> None:
        """It has ended."""
        self._server.discard(inbound)

    async def _shake(self, connected: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            connected.setblocking(False)
            await loop.connect_accepted_socket(
                lambda: self._server.connection(self),
                connected,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
        except OSError:
            connected.close()  # such as one that speaks no TLS; the loop knows why
