"""One connection to a faulty engine: bytes pumped both ways, and what each fault does to them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.faults.engine import FaultyEngine

HEAD_END = b"\r\n\r\n"


class Cut(Exception):
    """The engine's side ends here; with `reset` by a RST."""

    def __init__(self, reset: bool = False) -> None:
        super().__init__()
        self.reset = reset


class Fault:
    """What happens to one generation; the methods give the bytes that go on to the proxy."""

    async def request(self, link: Link) -> None:
        """The request came; raise Cut to end the connection before the engine sees it."""

    async def reply(self, link: Link, data: bytes) -> None:
        """The engine sent `data` of its reply."""
        await link.say(data)

    async def done(self, link: Link) -> None:
        """The reply is whole."""


class Sound(Fault):
    """Nothing is wrong."""


class Link:
    """One connection from the proxy, and the one behind it to the emulator."""

    def __init__(
        self, engine: FaultyEngine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._engine = engine
        self._reader = reader
        self._writer = writer
        self._fault: Fault | None = None
        self._id = b""
        self.position = 0
        """Bytes of this reply that the engine has sent before the present ones."""
        self.reused = False
        """Whether a generation was asked for here before."""

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until either side closes."""
        pumps = [
            asyncio.create_task(self._pump_requests(writer)),
            asyncio.create_task(self._pump_replies(reader)),
        ]
        try:
            done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in done:
                error = pump.exception()
                if isinstance(error, Cut) and error.reset:
                    self.reset()
        finally:
            writer.transport.abort()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def say(self, data: bytes) -> None:
        """Send to the proxy."""
        self._writer.write(data)
        await self._writer.drain()

    def reset(self) -> None:
        """End it without a word."""
        self._writer.transport.abort()

    async def freeze(self) -> None:
        """Neither end nor go on."""
        await asyncio.Event().wait()

    async def _pump_requests(self, writer: asyncio.StreamWriter) -> None:
        while data := await self._reader.read(1 << 20):
            await self._engine.thawed.wait()
            if data.startswith(b"POST "):
                self.reused = self._fault is not None
                self.position = 0
                self._fault, self._id = self._engine.fault_for(data)
                await self._fault.request(self)
            elif data.startswith(b"GET "):
                self._fault = None
            writer.write(data)
            await writer.drain()

    async def _pump_replies(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(1 << 16):
            await self._engine.thawed.wait()
            if self._fault is None:
                await self.say(data)
                continue
            await self._fault.reply(self, data)
            self.position += len(data)
            if _ends(data):
                self._engine.answered[self._id] += 1
                await self._fault.done(self)


def _ends(data: bytes) -> bool:
    """Whether it ends a reply of the emulator: the last chunk, or one in one piece."""
    return data.endswith(b"0\r\n\r\n") or b"Content-Length: " in data[:1000]
