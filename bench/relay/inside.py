"""Runs requests through the whole proxy inside this process, over transports that go nowhere.

What is left is what the proxy itself does: no system calls, no other process, the same every time.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from msgspec import Struct

from paceline.proxy.config import BackendConfig, Config, LogConfig
from paceline.proxy.http.inbound import Inbound
from paceline.proxy.process.compose import Proxy
from paceline.proxy.telemetry.log import request_logger
from paceline.proxy.upstream.address import Address
from paceline.proxy.upstream.connection import Connection
from paceline.scheduler.types import BackendSpec

ENGINES = 2
GROUPS = 50
SHARED = 0.75
"""Of a prompt's bytes, with the others of its group: as load.c does."""


class Case(Struct, frozen=True, kw_only=True):
    """One kind of request."""

    name: str
    together: int
    """Requests under way at once."""
    body: int = 2048
    """Bytes."""
    events: int = 0
    """Of a stream; 0 for an answer in one piece."""
    reads: int = 1
    """In which they come."""
    traced: bool = False
    """Whether each head has an id of its own, as from a client behind another proxy."""


CASES = (
    Case(name="json1", together=1),
    Case(name="json32", together=32),
    Case(name="traced32", together=32, traced=True),
    Case(name="big32", together=32, body=16 * 1024),
    Case(name="burst32", together=32, events=64),
    Case(name="paced32", together=32, events=16, reads=16),
)


class Nowhere(asyncio.Transport):
    """Takes what is written, and forgets it."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written = bytes(data)

    def writelines(self, list_of_data: Any) -> None:
        self.written = b"".join(list_of_data)

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else self

    family = 0
    """Of no socket that aiohttp would set options of."""

    def setsockopt(self, *args: int) -> None:
        """As of a socket."""

    def pause_reading(self) -> None:
        """There is nothing to read."""

    resume_reading = abort = close = pause_reading


class Stage:
    """A proxy with engines and clients that are this process too."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._proxy = Proxy(Config(backends=_backends()))
        self._proxy._log_request = request_logger(LogConfig(format="json"), lambda line: None)
        for entry in self._proxy.gateway.directory:
            entry.up, entry.models = True, ("m",)
            self._proxy.driver.backend_changed(BackendSpec(id=entry.id, models=("m",)))
        pool = self._proxy.gateway.pool

        async def connect(backend: Address) -> Connection:
            connection = Connection(pool, backend, pool._lanes[backend.id])
            connection.connection_made(Nowhere())
            return connection

        pool.connect = connect  # type: ignore[method-assign]
        self._clients = [self._client() for _ in range(case.together)]
        rng = random.Random(7)
        words = ["".join(rng.choices("abcdefghij", k=7)) for _ in range(400)]
        size = case.body - 100
        self._groups = [_text(rng, words, int(size * SHARED)) for _ in range(GROUPS)]
        self._rest = [_text(rng, words, int(size * (1 - SHARED))) for _ in range(500)]
        self._rng = rng
        self._reply = _stream(case) if case.events else [_json(case.body // 4)]

    async def round(self) -> None:
        """Have every client ask once, and answer them all."""
        for client in self._clients:
            client.data_received(self._request())
        while len(busy := self._busy()) < len(self._clients):
            await asyncio.sleep(0)
        for data in self._reply:
            for connection in busy:
                connection.data_received(data)
        while any(client._task is not None for client in self._clients):
            await asyncio.sleep(0)

    def _busy(self) -> list[Connection]:
        lanes = self._proxy.gateway.pool._lanes.values()
        return [connection for lane in lanes for connection in lane.busy]

    def _request(self) -> bytes:
        text = self._rng.choice(self._groups) + self._rng.choice(self._rest)
        body = b'{"model":"m","messages":[{"role":"user","content":"%b"}],"max_tokens":64' % text
        body += b',"stream":true}' if self._case.events else b"}"
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n"
        head += b"Content-Type: application/json\r\nAuthorization: Bearer key\r\n"
        if self._case.traced:
            head += b"X-Request-Id: %032x\r\n" % self._rng.getrandbits(128)
        return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)

    def _client(self) -> Inbound:
        client = self._proxy.server.connection()
        client.connection_made(Nowhere())
        return client


def _backends() -> list[BackendConfig]:
    return [BackendConfig(url=f"http://127.0.0.1:{9001 + i}", name="") for i in range(ENGINES)]


def _text(rng: random.Random, words: list[str], size: int) -> bytes:
    text = ""
    while len(text) < size:
        text += rng.choice(words) + " "
    return text[:size].encode()


def _json(tokens: int) -> bytes:
    body = (
        b'{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"m",'
        b'"choices":[{"index":0,"message":{"role":"assistant","content":"Hello there, this is it."}'
        b',"finish_reason":"stop"}],"usage":{"prompt_tokens":%6d,"total_tokens":%6d,'
        b'"completion_tokens":8,"prompt_tokens_details":null}}' % (tokens, tokens + 8)
    )
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


def _stream(case: Case) -> list[bytes]:
    """The reads in which a stream comes."""
    event = (
        b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,'
        b'"model":"m","choices":[{"index":0,"delta":{"content":"T0000000000000000001"},'
        b'"finish_reason":null}]}\n\n'
    )
    chunk = b"%x\r\n%b\r\n" % (len(event), event)
    each = case.events // case.reads
    reads = [chunk * each for _ in range(case.reads)]
    reads[0] = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + reads[0]
    )
    reads[-1] += b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
    return reads
