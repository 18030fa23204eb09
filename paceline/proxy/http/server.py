"""All connections from clients: each is made here, and drained or cut off at the end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from paceline.proxy.http.checks import Limits
from paceline.proxy.http.crowd import Crowd
from paceline.proxy.http.errors import ApiError
from paceline.proxy.http.handshake import Handshake
from paceline.proxy.http.inbound import Connections, Gate, Handler, Inbound, Unread
from paceline.proxy.http.outbox import Outbox

CUT_SECONDS = 1.0
"""Longest wait for connections that were cut off to be gone."""


class Server:
    """What a listening socket hands its connections to."""

    def __init__(
        self,
        handler: Handler,
        unread: Unread,
        limits: Limits,
        drain_seconds: float,
        crowd: Crowd | None = None,
        gate: Gate = lambda request: None,
        on_refused: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """`on_refused` is told why a connection was."""
        self.limits = limits
        """Of the connections that come next."""
        self.drain_seconds = drain_seconds
        self.crowd = crowd or Crowd()
        self._gate = gate
        self._handler = handler
        self._unread = unread
        self._on_refused = on_refused
        self._outbox = Outbox(asyncio.get_running_loop())
        self._finishing = False
        self._open: dict[Inbound | Handshake, bool] = {}
        """Whether they were counted."""
        self._empty = asyncio.Event()

    @property
    def open(self) -> int:
        """Connections, those included that are refused."""
        return len(self._open)

    def connection(self, counted_by: Connections | None = None) -> Inbound:
        """The protocol of a new connection."""
        server = counted_by or self
        return Inbound(server, self._gate, self._handler, self._unread, self.limits, self._outbox)

    def secured(self, context: ssl.SSLContext) -> Handshake:
        """The protocol of a new connection that is to speak TLS."""
        return Handshake(self, context)

    def add(self, connection: Inbound | Handshake) -> ApiError | None:
        """A client has connected; the answer if it is one too many."""
        refused = self.crowd.enter(connection.remote)
        self._open[connection] = refused is None
        if self._finishing:
            connection.finish()
        if refused is not None:
            self._on_refused(refused.reason)
        return refused

    def replace(self, connection: Handshake, by: Inbound) -> None:
        """One goes on as another."""
        self._open[by] = self._open.pop(connection, False)
        if self._finishing:
            by.finish()

    def discard(self, connection: Inbound | Handshake) -> None:
        """A client's connection is gone."""
        if self._open.pop(connection, False):
            self.crowd.leave(connection.remote)
        if not self._open:
            self._empty.set()

    def finish(self) -> None:
        """From now on each connection gets one more answer, if it asks."""
        self._finishing = True
        for connection in list(self._open):
            connection.finish()

    async def drain(self) -> None:
        """Wait until all have their answers, then cut off those for whom time is up."""
        self.finish()
        if not await self._emptied(self.drain_seconds):
            for connection in list(self._open):
                connection.abort()
            await self._emptied(CUT_SECONDS)

    async def _emptied(self, seconds: float) -> bool:
        self._empty.clear()
        if not self._open:
            return True
        try:
            await asyncio.wait_for(self._empty.wait(), seconds)
        except TimeoutError:
            return False
        return True
