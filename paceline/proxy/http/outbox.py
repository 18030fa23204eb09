"""Collects the writes of one turn of the event loop and makes them together at its end.

A write to a peer that sleeps wakes it, which takes 10 us of system time on a virtual machine, more
than the rest of the call. One by one, with some 50 us of work between them, every write meets a
peer that sleeps again; together, most meet one that is awake (docs/performance.md).
"""

from __future__ import annotations

import asyncio

MOST = 32
"""Writes that wait for the end of the turn: in a long one, the first is not to wait for all."""
ALONE = 4
"""Writes made at once after one that had no company: collecting would only delay them."""
LARGE = 32 * 1024
"""Bytes of a write that waits for nothing: its cost is not the waking, and whether the transport
could take them has to be known at once."""


class Outbox:
    """What is to be written to any of some transports; the order on each of them is kept."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []
        self._at_once = 0

    def write(self, transport: asyncio.Transport, data: bytes) -> None:
        """Write before this turn of the loop ends; nothing if the transport is closing by then."""
        if self._at_once:
            self._at_once -= 1
            if not transport.is_closing():
                transport.write(data)
            return
        if not self._waiting:
            self._loop.call_soon(self._turn_ends)
        self._waiting.append((transport, data))
        if len(data) > LARGE or len(self._waiting) == MOST:
            self.flush()

    def flush(self) -> None:
        """Write now what waits: before a transport is closed, or its sending side is."""
        waiting, self._waiting = self._waiting, []
        for transport, data in waiting:
            if not transport.is_closing():
                transport.write(data)

    def _turn_ends(self) -> None:
        if len(self._waiting) == 1:
            self._at_once = ALONE
        self.flush()
