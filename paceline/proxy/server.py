"""All connections from clients: each is made here, and drained or cut off at the end."""

from __future__ import annotations

import asyncio

from paceline.proxy.checks import Limits
from paceline.proxy.inbound import Handler, Inbound, Unread

CUT_SECONDS = 1.0
"""Longest wait for connections that were cut off to be gone."""


class Server:
    """What a listening socket hands its connections to."""

    def __init__(
        self, handler: Handler, unread: Unread, limits: Limits, drain_seconds: float
    ) -> None:
        self._handler = handler
        self._unread = unread
        self._limits = limits
        self._drain_seconds = drain_seconds
        self._open: set[Inbound] = set()
        self._empty = asyncio.Event()

    def connection(self) -> Inbound:
        """The protocol of a new connection."""
        return Inbound(self, self._handler, self._unread, self._limits)

    def add(self, inbound: Inbound) -> None:
        """A client has connected."""
        self._open.add(inbound)

    def discard(self, inbound: Inbound) -> None:
        """A client's connection is gone."""
        self._open.discard(inbound)
        if not self._open:
            self._empty.set()

    async def drain(self) -> None:
        """Close idle connections at once, the others once they have their answer or time is up."""
        for inbound in list(self._open):
            inbound.stop()
        if not await self._emptied(self._drain_seconds):
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
