"""All connections from clients: each is made here, and drained or cut off at the end."""

from __future__ import annotations

import asyncio

from paceline.proxy.http.checks import Limits
from paceline.proxy.http.inbound import Gate, Handler, Inbound, Unread

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
        max_connections: int = 8_000,
        gate: Gate = lambda request: None,
    ) -> None:
        self.limits = limits
        """Of the connections that come next."""
        self.drain_seconds = drain_seconds
        self.max_connections = max_connections
        self._gate = gate
        self._handler = handler
        self._unread = unread
        self._finishing = False
        self._open: set[Inbound] = set()
        self._empty = asyncio.Event()

    def connection(self) -> Inbound:
        """The protocol of a new connection."""
        return Inbound(self, self._gate, self._handler, self._unread, self.limits)

    def add(self, inbound: Inbound) -> bool:
        """A client has connected; False if that is one too many."""
        self._open.add(inbound)
        if self._finishing:
            inbound.finish()
        return len(self._open) <= self.max_connections

    def discard(self, inbound: Inbound) -> None:
        """A client's connection is gone."""
        self._open.discard(inbound)
        if not self._open:
            self._empty.set()

    def finish(self) -> None:
        """From now on each connection gets one more answer, if it asks."""
        self._finishing = True
        for inbound in list(self._open):
            inbound.finish()

    async def drain(self) -> None:
        """Wait until all have their answers, then cut off those for whom time is up."""
        self.finish()
        if not await self._emptied(self.drain_seconds):
            for inbound in list(self._open):
                inbound.abort()
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
