"""A client's connection in memory, and what the proxy makes of the bytes on it."""

from __future__ import annotations

import asyncio
import re
from typing import cast

from paceline.proxy.http.checks import Limits
from paceline.proxy.http.request import Reply, Request
from paceline.proxy.http.server import Server

GOOD = b"GET /good HTTP/1.1\r\nHost: p\r\n\r\n"
LIMITS = Limits(head=2**14, body=2**12)


class Wire(asyncio.Transport):
    """A client's connection that keeps what it is sent; its own socket, too."""

    family = 0

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = False

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self if name == "socket" else default

    def setsockopt(self, *_: int) -> None: ...

    def write(self, data: object) -> None:
        self.sent += cast(bytes, data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def play(pieces: list[bytes]) -> tuple[list[tuple[str, str, bytes]], list[bytes]]:
    """The requests that were understood, and the statuses of all answers."""
    seen: list[tuple[str, str, bytes]] = []

    async def answer(request: Request) -> Reply | None:
        seen.append((request.method, request.raw_path, request.body))
        return Reply(200, b"")

    server = Server(answer, lambda request, error: None, LIMITS, 0.0)
    connection, wire = server.connection(), Wire()
    connection.connection_made(wire)
    for piece in pieces:
        connection.data_received(piece)
        for _ in range(3):  # what was begun is answered
            await asyncio.sleep(0)
    for _ in range(3 * len(seen) + 30):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    return seen, re.findall(rb"^HTTP/1.1 (\d+)", wire.sent, re.M)
