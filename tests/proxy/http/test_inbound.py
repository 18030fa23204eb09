"""A client's connection: one request after the other, and limits on how long they take."""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from collections.abc import Callable

import pytest

from paceline.proxy.config import Config, ServerConfig
from paceline.proxy.http import inbound
from paceline.proxy.http.checks import Limits
from paceline.proxy.http.errors import ApiError
from paceline.proxy.http.handshake import Handshake
from paceline.proxy.http.inbound import Inbound
from paceline.proxy.http.request import Reply, Request
from paceline.proxy.http.server import Server
from paceline.proxy.process.listen import listening
from tests.proxy.http.dawdling import every, limited
from tests.proxy.rig import CHAT, proxied
from tests.proxy.scripted import always, reply


async def test_head_that_dribbles_is_a_408() -> None:
    """A head that does not end is given up, however regularly a line of it comes."""
    async with proxied(always(reply()), config=limited(head_seconds=0.1)) as proxy:
        client = await proxy.dial()
        client.say(b"GET /health HTTP/1.1\r\nHost: p\r\n")
        dribble = asyncio.create_task(every(0.02, client, b"X: y\r\n"))
        assert (await client.answer()).status == 408
        dribble.cancel()


async def test_second_head_that_dribbles_is_a_408() -> None:
    """Having been served once buys no patience."""
    config = limited(head_seconds=0.1, idle_seconds=20)
    async with proxied(always(reply()), config=config) as proxy:
        client = await proxy.dial()
        client.say(b"GET /health HTTP/1.1\r\nHost: p\r\n\r\n")
        assert (await client.answer()).status == 200
        client.say(b"GET /health")
        assert (await client.answer()).status == 408


@pytest.mark.parametrize("first", [b"", b"GET /health HTTP/1.1\r\nHost: p\r\n\r\n"])
async def test_a_connection_without_a_request_is_closed_without_a_word(first: bytes) -> None:
    """Nobody asked: a 408 would answer the request that may be on its way."""
    config = limited(head_seconds=0.05, idle_seconds=0.05)
    async with proxied(always(reply()), config=config) as proxy:
        client = await proxy.dial()
        client.say(first)
        if first:
            assert (await client.answer()).status == 200
        assert await client.rest() == b""


@pytest.mark.parametrize("line", [b"", b"Connection: close\r\n"])
async def test_a_client_that_reads_no_answer_is_dropped(
    line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the connection would go on or not: its answer is not kept for ever."""
    monkeypatch.setattr(inbound, "LINGER_SECONDS", 0.05)
    server = Talkative()
    async with listening(server, "127.0.0.1", 0) as url:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: p\r\n%b\r\n" % line)
            await server.gone.wait()


async def test_the_kernel_takes_little_for_a_client_that_does_not_read() -> None:
    """What a slow reader costs is known: it could be megabytes of buffers each, and all of TCP."""
    server = Talkative(idle_seconds=20.0)
    async with listening(server, "127.0.0.1", 0) as url:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", int(url.rpartition(":")[2])))
            client.sendall(b"GET / HTTP/1.1\r\nHost: p\r\n\r\n")
            await server.asked(1)
            waiting = await server.left_by_the_kernel()
    assert waiting > ANSWER - 2 * inbound.MAX_UNSENT


ANSWER = 20_000_000


class Talkative(Server):
    """Answers with more than any buffer holds; tells when a connection is gone."""

    def __init__(self, idle_seconds: float = 0.05) -> None:
        limits = Limits(head=2**15, body=2**20, idle_seconds=idle_seconds)
        super().__init__(self.answer, lambda request, error: None, limits, 5.0)
        self.gone = asyncio.Event()
        self.answers = 0
        self._answered = asyncio.Condition()

    async def answer(self, request: Request) -> Reply | None:
        async with self._answered:
            self.answers += 1
            self._answered.notify_all()
        return Reply(200, bytes(ANSWER))

    async def asked(self, count: int) -> None:
        """Wait until so many requests have been answered."""
        async with self._answered:
            await self._answered.wait_for(lambda: self.answers >= count)

    async def left_by_the_kernel(self) -> int:
        """Bytes of the first answer that are still in this process."""
        (connection,) = self._open
        assert isinstance(connection, Inbound)
        while connection.transport is None or not connection.transport.get_write_buffer_size():
            await asyncio.sleep(0)
        return connection.transport.get_write_buffer_size()

    def discard(self, connection: Inbound | Handshake) -> None:
        super().discard(connection)
        self.gone.set()


async def test_a_client_that_reads_no_answer_gets_no_second_one() -> None:
    """However much it asks, the proxy holds one answer for it; when it reads, the others come."""
    server = Talkative(idle_seconds=20.0)
    async with listening(server, "127.0.0.1", 0) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(b"GET / HTTP/1.1\r\nHost: p\r\n\r\n" * 3)
        for answers in (1, 2, 3):
            await server.asked(answers)
            await asyncio.sleep(0)
            assert server.answers == answers
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(ANSWER)
        writer.close()


async def test_a_connection_that_has_ended_is_freed_without_the_collector() -> None:
    """It looks for cycles after 50,000 objects: until then tens of megabytes could be garbage."""
    gc.collect()
    gc.disable()
    try:
        server = Noted()
        async with listening(server, "127.0.0.1", 0) as url:
            _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            writer.write(b"GET / HTTP/1.1\r\nHost: p\r\n\r\n")
            await server.connected.wait()
            writer.close()
            async with asyncio.timeout(5.0):
                while server.inbound() is not None:
                    await asyncio.sleep(0)
    finally:
        gc.enable()


class Noted(Server):
    """Knows its last connection, and does not keep it."""

    def __init__(self) -> None:
        limits = Limits(head=2**15, body=2**20)
        super().__init__(self.answer, lambda request, error: None, limits, 5.0)
        self.connected = asyncio.Event()
        self.inbound: Callable[[], Inbound | None] = lambda: None

    async def answer(self, request: Request) -> Reply | None:
        return Reply(204, b"")

    def add(self, connection: Inbound | Handshake) -> ApiError | None:
        assert isinstance(connection, Inbound)
        self.inbound = weakref.ref(connection)
        self.connected.set()
        return super().add(connection)


async def test_one_connection_too_many_is_told_so() -> None:
    """It gets a 503, and the others are served on."""
    async with proxied(always(reply()), config=limited(max_connections=1)) as proxy:
        first, second = await proxy.dial(), await proxy.dial()
        answer = await second.answer()
        assert (answer.status, answer.headers("retry-after")) == (503, ["1"])
        assert await second.rest() == b""
        first.say(b"GET /health HTTP/1.1\r\nHost: p\r\n\r\n")
        assert (await first.answer()).status == 200


async def test_one_connection_too_many_from_an_address_is_told_so() -> None:
    """It gets a 429 with a reason of its own; a load balancer's would be taken."""
    async with proxied(always(reply()), config=limited(max_connections_per_address=1)) as proxy:
        first, second = await proxy.dial(), await proxy.dial()
        answer = await second.answer()
        assert (answer.status, answer.headers("retry-after")) == (429, ["1"])
        assert answer.headers("x-paceline-reason") == ["address_connections"]
        assert await second.rest() == b""
        first.hang_up()
    server = ServerConfig(max_connections_per_address=1, load_balancers=["127.0.0.0/8"])
    async with proxied(always(reply()), config=Config(server=server)) as proxy:
        for client in (await proxy.dial(), await proxy.dial()):
            client.say(b"GET /health HTTP/1.1\r\nHost: p\r\n\r\n")
            assert (await client.answer()).status == 200


async def test_old_clients_are_answered_and_let_go() -> None:
    """HTTP/1.0 gets a reply that ends with its connection."""
    async with proxied(always(reply(b"yes"))) as proxy:
        client = await proxy.dial()
        client.say(b"GET /v1/responses/m HTTP/1.0\r\nHost: p\r\n\r\n")
        assert (await client.rest()).endswith(b"\r\n\r\nyes")


async def test_a_failure_of_our_own_is_a_500(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is told, and its connection ends."""
    async with proxied(always(reply(b"yes"))) as proxy:
        monkeypatch.setattr(proxy.gateway.pool, "reuse", lambda backend: 1 / 0)
        client = await proxy.dial()
        await client.post(CHAT)
        answer = await client.answer()
    assert (answer.status, answer.headers("connection")) == (500, ["close"])
    assert proxy.driver.log == ["admit", "failed"]
