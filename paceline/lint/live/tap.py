"""Passes connections on byte by byte, and gathers the prompts that go by, in memory only."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from paceline.lint.live.ear import Ear
from paceline.lint.log import Entry
from paceline.proxy.upstream.address import Address

CHUNK = 65536
DRAIN_SECONDS = 30.0
"""How long answers may still go on once the tap closes, as the proxy's own default."""
UNREACHABLE = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Tap:
    """What stands between clients and `address`."""

    def __init__(self, address: Address, wanted: int) -> None:
        self.entries: list[Entry] = []
        self.skipped = 0
        """Requests whose prompt could not be read."""
        self.full = asyncio.Event()
        """Set once it has what was wanted."""
        self._address = address
        self._wanted = wanted
        self._ears: dict[asyncio.Task[None], Ear] = {}
        self._moved = asyncio.Event()

    @asynccontextmanager
    async def open(self, host: str, port: int) -> AsyncIterator[int]:
        """Relay inside the block; yields the port. Raises OSError where it cannot listen.

        On the way out, answers under way may end; what is idle is closed.
        """
        server = await asyncio.start_server(self._connected, host, port)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._drained(), DRAIN_SECONDS)
            for task in self._ears:
                task.cancel()
            await asyncio.gather(*self._ears, return_exceptions=True)

    async def _drained(self) -> None:
        while self._ears:
            for task, ear in self._ears.items():
                if ear.owed <= 0:
                    task.cancel()
            self._moved.clear()
            await self._moved.wait()

    def _heard(self, entry: Entry | None) -> None:
        if self.full.is_set():
            return
        if entry is None:
            self.skipped += 1
            return
        entry.line = len(self.entries) + 1
        self.entries.append(entry)
        if len(self.entries) >= self._wanted:
            self.full.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        ear = self._ears[task] = Ear(self._heard)
        try:
            await self._relay(ear, reader, writer)
        except (OSError, asyncio.CancelledError):  # it left, or the tap closes
            pass
        finally:
            writer.close()
            del self._ears[task]
            self._moved.set()

    async def _relay(
        self, ear: Ear, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        at = self._address
        context = (at.context or ssl.create_default_context()) if at.tls else None
        try:
            back, forth = await asyncio.open_connection(at.host, at.port, ssl=context)
        except OSError:
            writer.write(UNREACHABLE)
            return
        ways = [
            asyncio.create_task(self._copy(reader, forth, ear.asked)),
            asyncio.create_task(self._copy(back, writer, ear.answered)),
        ]
        try:  # whoever closes first ends both, so that a client that leaves is noticed behind
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            forth.close()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _copy(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        seen: Callable[[bytes], None],
    ) -> None:
        while data := await reader.read(CHUNK):
            seen(data)
            writer.write(data)
            await writer.drain()
            self._moved.set()
