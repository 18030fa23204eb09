"""The least that a proxy with aiohttp's parser costs: no scheduling, no checks, no log, no retries.

`python -m bench.relay.reference PORT ENGINE_PORT...` forwards POSTs to the engines in turn. What
Paceline costs is judged by its ratio to this, measured in the same minute.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import cast

import httptools
import uvloop
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser, RawRequestMessage
from aiohttp.streams import StreamReader

SKIPPED = frozenset((b"host", b"connection", b"transfer-encoding", b"content-length"))
LARGEST = 64 * 2**20


class Upstream(asyncio.Protocol):
    """A connection to an engine; what comes goes to the client of the moment."""

    def __init__(self, idle: deque[Upstream]) -> None:
        self._idle = idle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def send(self, data: bytes, client: asyncio.Transport) -> None:
        """Send a request whose reply goes to `client`."""
        self._client = client
        self._parser = httptools.HttpResponseParser(self)
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._client.write(data)
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """The reply is whole: the connection is free."""
        self._idle.append(self)


class Server(BaseProtocol):
    """A connection from a client."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        turns: Iterator[int],
        idle: dict[int, deque[Upstream]],
    ) -> None:
        parser = HttpRequestParser(self, loop, LARGEST, auto_decompress=False)
        super().__init__(loop, parser)
        self._requests = parser
        self._turns = turns
        self._idle = idle
        self._waiting: set[asyncio.Task[None]] = set()

    def data_received(self, data: bytes) -> None:
        messages, _, _ = self._requests.feed_data(data)
        for message, body in messages:
            self._requests.message_consumed()
            if body.is_eof():
                self._forward(message, body)
            else:
                body.on_eof(partial(self._forward_soon, message, body))

    def _forward_soon(self, message: RawRequestMessage, reader: StreamReader) -> None:
        """Not at once: the parser is still at work."""
        self._loop.call_soon(lambda: self._forward(message, reader))

    def _forward(self, message: RawRequestMessage, reader: StreamReader) -> None:
        body = reader.read_nowait()
        lines = [
            f"{message.method} {message.path} HTTP/1.1\r\nHost: engine".encode(),
            *(b"%b: %b" % one for one in message.raw_headers if one[0].lower() not in SKIPPED),
            b"Content-Length: %d\r\n\r\n" % len(body),
        ]
        data = b"\r\n".join(lines) + body
        port = next(self._turns)
        client = cast(asyncio.Transport, self.transport)
        if self._idle[port]:
            self._idle[port].pop().send(data, client)
        else:
            task = asyncio.ensure_future(self._connect(port, data, client))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    async def _connect(self, port: int, data: bytes, client: asyncio.Transport) -> None:
        _, upstream = await self._loop.create_connection(
            lambda: Upstream(self._idle[port]), "127.0.0.1", port
        )
        upstream.send(data, client)


async def serve(port: int, engines: list[int]) -> None:
    """Listen until killed."""
    loop = asyncio.get_running_loop()
    idle: dict[int, deque[Upstream]] = {engine: deque() for engine in engines}
    turns = itertools.cycle(engines)
    server = await loop.create_server(
        lambda: Server(loop, turns, idle), "127.0.0.1", port, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    first, *others = map(int, sys.argv[1:])
    uvloop.run(serve(first, others))
