"""A store in memory for several members, that can be lost; and what a member tells its driver."""

from __future__ import annotations

import asyncio

from paceline.proxy.fleet.member import StoreLost
from paceline.scheduler.events import Event


class Stream:
    """What all append to and read."""

    def __init__(self) -> None:
        self.batches: list[bytes] = []
        self.lost = False
        self._grown = asyncio.Event()

    def add(self, data: bytes) -> None:
        """One more batch; whoever waits reads it."""
        self.batches.append(data)
        self.wake()

    def wake(self) -> None:
        """Have everybody look."""
        self._grown.set()
        self._grown = asyncio.Event()

    async def grown(self) -> None:
        """Wait until there is more, or something else to see."""
        await self._grown.wait()


class End:
    """One member's access to it."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._at = len(stream.batches)
        self.closed = False

    async def append(self, data: bytes) -> None:
        self._check()
        self._stream.add(data)

    async def read(self) -> list[bytes]:
        self._check()
        while self._at == len(self._stream.batches):
            await self._stream.grown()
            self._check()
        at, self._at = self._at, len(self._stream.batches)
        return self._stream.batches[at:]

    async def close(self) -> None:
        self.closed = True

    def _check(self) -> None:
        if self._stream.lost:
            self._at = len(self._stream.batches)
            raise StoreLost("gone")


class Ear:
    """Keeps the events that a driver would be fed."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._grown = asyncio.Event()

    def heard(self, event: Event) -> None:
        self.events.append(event)
        self._grown.set()

    async def until(self, kind: type[Event], count: int = 1) -> list[Event]:
        """Wait for so many events of a kind; returns them."""
        while len(found := [e for e in self.events if isinstance(e, kind)]) < count:
            self._grown.clear()
            await self._grown.wait()
        return found
