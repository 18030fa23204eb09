"""A client that notes what it sees to the byte, and leaves when it is told to."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import Enum, auto

from msgspec import Struct

A_MOMENT = 0.05
"""Seconds after which somebody who does not want to wait leaves."""
PATIENCE = 20.0
"""Seconds until it gives up: nothing here should take so long."""


class Leave(Enum):
    """When a client goes away."""

    NEVER = auto()
    MID_UPLOAD = auto()
    AT_ONCE = auto()
    BEFORE_HEAD = auto()
    AFTER_HEAD = auto()
    MID_STREAM = auto()


class Seen(Struct):
    """One request from the client's side."""

    status: int = 0
    reason: str = ""
    retry_after: str = ""
    unbuffered: bool = False
    """Nobody on the way is to collect the stream."""
    whole: bool = False
    """The reply ended as HTTP says it should."""
    done: int = 0
    """How often `[DONE]` came."""
    errors: int = 0
    """Error frames inside a stream."""
    left: bool = False
    seconds: float = 0.0
    backend: str = ""

    @property
    def word(self) -> str:
        """In a word or two."""
        if self.left:
            return "left"
        if self.status == 0:
            return "nothing"
        told = " + error frame" if self.errors else ""
        if not self.whole:
            return f"{self.status} cut{told}"
        return f"{self.status} {self.reason}".strip()


async def ask(
    port: int, body: bytes, id: str, leave: Leave = Leave.NEVER, patience: float = PATIENCE
) -> Seen:
    """Send a completion and take in what comes, for `patience` seconds at most."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await talk(reader, writer, body, id, leave=leave, patience=patience)
    finally:
        writer.transport.abort()


async def talk(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    body: bytes,
    id: str,
    *,
    path: str = "/v1/completions",
    leave: Leave = Leave.NEVER,
    patience: float = PATIENCE,
) -> Seen:
    """The same on a connection that is there, and stays unless the reply was not whole."""
    seen = Seen(left=leave is not Leave.NEVER)
    loop = asyncio.get_running_loop()
    began = loop.time()
    head = [f"POST {path} HTTP/1.1", "Host: proxy", f"x-request-id: {id}"]
    head += ["Content-Type: application/json", f"Content-Length: {len(body)}", "", ""]
    sent = body[: len(body) // 2] if leave is Leave.MID_UPLOAD else body
    writer.write("\r\n".join(head).encode() + sent)
    with suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
        async with asyncio.timeout(patience):
            await writer.drain()
            if leave is Leave.BEFORE_HEAD:
                await asyncio.sleep(A_MOMENT)
            elif leave not in (Leave.MID_UPLOAD, Leave.AT_ONCE):
                await _take(reader, seen, leave)
    seen.seconds = loop.time() - began
    return seen


async def _take(reader: asyncio.StreamReader, seen: Seen, leave: Leave) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    seen.status = int(head.split(" ", 2)[1])
    lines = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:-2])
    seen.reason = lines.get("x-paceline-reason", "")
    seen.backend = lines.get("x-paceline-backend", "")
    seen.retry_after = lines.get("retry-after", "")
    seen.unbuffered = lines.get("x-accel-buffering") == "no"
    if leave is Leave.AFTER_HEAD:
        return
    if "content-length" in lines:
        await reader.readexactly(int(lines["content-length"]))
        seen.whole = True
    else:
        await _take_stream(reader, seen, leave)


async def _take_stream(reader: asyncio.StreamReader, seen: Seen, leave: Leave) -> None:
    while size := int(await reader.readuntil(b"\r\n"), 16):
        data = await reader.readexactly(size)
        await reader.readexactly(2)
        seen.done += data.count(b"data: [DONE]")
        seen.errors += data.count(b'data: {"error"')
        if leave is Leave.MID_STREAM:
            return
    await reader.readexactly(2)
    seen.whole = True
