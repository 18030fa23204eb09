"""An engine that answers as a test tells it to, byte by byte, and remembers what it was sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

PROMPT = 0.1
"""Seconds within which an engine must see that the client is gone."""


class Conversation:
    """One connection to the scripted engine."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.closed = asyncio.Event()
        """Set once the proxy has closed its side."""

    async def request(self) -> tuple[str, bytes]:
        """The next request: its head as text, its body."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = 0
        for line in head.lower().split("\r\n"):
            if line.startswith("content-length:"):
                length = int(line.partition(":")[2])
        return head, await self.reader.readexactly(length)

    async def say(self, data: bytes) -> None:
        """Send raw bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def until_closed(self) -> None:
        """Wait for the proxy to close."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass
        self.closed.set()

    async def closes_soon(self) -> None:
        """Wait until the engine sees the proxy's end of the connection; TimeoutError if not."""
        await asyncio.wait_for(self.closed.wait(), PROMPT)

    def hang_up(self) -> None:
        """Close without another word."""
        self.writer.transport.abort()


Script = Callable[[Conversation], Awaitable[None]]


class Scripted:
    """The listening side: every connection runs the script."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.port = 0
        self.conversations: list[Conversation] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Play the script on a new connection."""
        conversation = Conversation(reader, writer)
        self.conversations.append(conversation)
        self._tasks.add(asyncio.create_task(self._play(conversation)))

    async def stop(self) -> None:
        """End all conversations."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks)

    async def _play(self, conversation: Conversation) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            await self.script(conversation)
        conversation.writer.close()
        with suppress(ConnectionError, asyncio.CancelledError):
            await conversation.writer.wait_closed()


@asynccontextmanager
async def engine(script: Script) -> AsyncIterator[Scripted]:
    """A scripted engine on a port of its own."""
    scripted = Scripted(script)
    server = await asyncio.start_server(scripted.connected, "127.0.0.1", 0)
    scripted.port = server.sockets[0].getsockname()[1]
    try:
        yield scripted
    finally:
        server.close()
        await scripted.stop()


def reply(body: bytes = b"{}", status: str = "200 OK", *lines: str) -> bytes:
    """A reply with a Content-Length."""
    head = [f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(head).encode("latin-1") + body


SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def chunked(payload: bytes) -> bytes:
    """One chunk."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def always(answer: bytes) -> Script:
    """A script that gives every request the same answer."""

    async def script(conversation: Conversation) -> None:
        while True:
            await conversation.request()
            await conversation.say(answer)

    return script
