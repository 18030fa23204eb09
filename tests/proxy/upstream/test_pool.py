"""Which connections are kept, for how long, and which is used next."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, ExitStack

import pytest

from paceline.proxy.config import UpstreamConfig
from paceline.proxy.upstream.address import Address
from paceline.proxy.upstream.connection import Connection
from paceline.proxy.upstream.pool import ConnectFailed, Pool
from tests.proxy.rig import free_port
from tests.proxy.scripted import Conversation, Scripted, engine


async def listens(conversation: Conversation) -> None:
    """Say nothing."""
    await conversation.until_closed()


def at(port: int) -> Address:
    """A backend on this machine."""
    return Address(id="e", host="127.0.0.1", port=port)


def pooled(keep: float = 3.0, connect: float = 2.0) -> Pool:
    """A pool with these limits in seconds."""
    config = UpstreamConfig(keepalive_seconds=keep, connect_seconds=connect)
    return Pool(config, asyncio.get_running_loop())


async def two(pool: Pool, scripted: Scripted) -> tuple[Connection, Connection]:
    """Two connections, given back in this order."""
    first, second = await pool.connect(at(scripted.port)), await pool.connect(at(scripted.port))
    first.release()
    second.release()
    return first, second


async def test_last_used_is_reused_first() -> None:
    """The others grow old and go."""
    async with engine(listens) as scripted:
        pool = pooled()
        first, second = await two(pool, scripted)
        assert pool.reuse(at(scripted.port)) is second
        assert pool.reuse(at(scripted.port)) is first
        assert pool.reuse(at(scripted.port)) is None
        first.abort()
        second.abort()


async def test_idle_connections_are_closed_in_time() -> None:
    """Engines close idle connections after 5 s: the proxy does so before them."""
    async with engine(listens) as scripted:
        pool = pooled(keep=0.05)
        await two(pool, scripted)
        for conversation in scripted.conversations:
            await conversation.closed.wait()
        assert pool.reuse(at(scripted.port)) is None


async def test_a_reload_says_how_long_they_are_kept() -> None:
    """The settings are changed in place: a connection that is too old by now is not reused."""
    async with engine(listens) as scripted:
        config = UpstreamConfig(keepalive_seconds=3.0)
        pool = Pool(config, asyncio.get_running_loop())
        await two(pool, scripted)
        config.keepalive_seconds = 0.0
        assert pool.reuse(at(scripted.port)) is None


async def test_nothing_is_kept_of_a_backend_that_was_dropped() -> None:
    """Not even a connection that was in use, if another engine goes by the name meanwhile."""
    async with engine(listens) as scripted:
        pool = pooled()
        old = await pool.connect(at(scripted.port))
        pool.drop("e")
        new = await pool.connect(at(scripted.port))
        new.release()
        old.release()
        assert old.transport.is_closing()
        assert pool.reuse(at(scripted.port)) is new
        new.abort()


async def test_connection_closed_by_the_engine_is_not_reused() -> None:
    """Its end is noticed while it is idle."""
    hang_up = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await hang_up.wait()

    async with engine(script) as scripted:
        pool = pooled()
        connection = await pool.connect(at(scripted.port))
        connection.release()
        hang_up.set()
        while not connection.transport.is_closing():
            await asyncio.sleep(0)
        assert pool.reuse(at(scripted.port)) is None


async def test_words_nobody_asked_for_close_the_connection() -> None:
    """An idle connection that talks would answer the next request wrongly."""
    talk = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await talk.wait()
        await conversation.say(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        await conversation.until_closed()

    async with engine(script) as scripted:
        pool = pooled()
        (await pool.connect(at(scripted.port))).release()
        talk.set()
        while not scripted.conversations:
            await asyncio.sleep(0)
        await scripted.conversations[0].closed.wait()
        assert pool.reuse(at(scripted.port)) is None


async def test_closing_the_pool_closes_what_it_keeps() -> None:
    """Nothing is left open at the end."""
    async with AsyncExitStack() as stack:
        scripted = await stack.enter_async_context(engine(listens))
        pool = pooled()
        await two(pool, scripted)
        pool.close()
        for conversation in scripted.conversations:
            await conversation.closed.wait()


async def test_nobody_there() -> None:
    """A refused connection is an error that says so."""
    with pytest.raises(ConnectFailed, match="Connect call failed"):
        await pooled().connect(at(free_port()))


async def test_nobody_answers() -> None:
    """A connection that does not come about is given up."""
    with pytest.raises(ConnectFailed, match="timed out"):
        await pooled(connect=0.0).connect(at(free_port()))


async def test_every_read_is_heard() -> None:
    """A backend that sends in the middle of a reply is alive, and busy until the reply ends."""
    more = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.say(b"first")
        await more.wait()
        await conversation.say(b"second")
        await conversation.until_closed()

    async with engine(script) as scripted:
        pool, reader = pooled(), Reader()
        assert (pool.in_flight("e"), pool.last_byte_at("e")) == (0, None)
        connection = await pool.connect(at(scripted.port))
        connection.send(b"hello", b"", reader)
        heard = []
        for said in (b"first", b"second"):
            assert await reader.pieces.get() == said
            heard.append(pool.last_byte_at("e"))
            more.set()
        assert None not in heard
        assert heard[0] < heard[1]  # type: ignore[operator]
        assert pool.in_flight("e") == 1
        connection.abort()
        assert pool.in_flight("e") == 0


async def test_silence_counts_from_the_first_request_owed() -> None:
    """Any byte of any answer ends it, and so does having nothing to do."""
    more = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.reader.readexactly(5)
        await more.wait()
        await conversation.say(b"some")
        await conversation.until_closed()

    async with engine(script) as scripted:
        pool, reader = pooled(), Reader()
        time = pool.now()
        pool.now = lambda: time
        first, second = await pool.connect(at(scripted.port)), await pool.connect(at(scripted.port))
        assert pool.silence("e") == 0.0
        first.send(b"hello", b"", reader)
        time += 1.0
        second.send(b"hello", b"", reader)
        time += 1.0
        assert pool.silence("e") == 2.0
        more.set()
        await reader.pieces.get()
        assert pool.silence("e") == 0.0
        time += 5.0
        assert pool.silence("e") == 5.0
        first.abort()
        second.abort()
        assert pool.silence("e") == 0.0


async def test_whoever_waits_for_a_backend_that_hangs_is_told() -> None:
    """Once, and idle connections are nobody's."""
    async with engine(listens) as scripted:
        pool, reader = pooled(), Reader()
        idle, busy = await pool.connect(at(scripted.port)), await pool.connect(at(scripted.port))
        idle.release()
        busy.send(b"hello", b"", reader)
        pool.abandon("e")
        assert reader.stalls == 1
        busy.abort()
        pool.abandon("e")
        assert reader.stalls == 1
        pool.close()


async def test_connecting_to_a_backend_that_hangs_is_given_up() -> None:
    """It counts as silence, too: a full backlog accepts nobody."""
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(2):  # fill the backlog
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        pool = pooled(connect=30.0)
        now = pool.now
        connecting = asyncio.create_task(pool.connect(at(port)))
        await asyncio.sleep(0)
        pool.now = lambda: now() + 1.0
        assert pool.silence("e") >= 1.0
        pool.now = now
        pool.abandon("e")
        with pytest.raises(ConnectFailed, match="timed out"):
            await connecting
        assert pool.silence("e") == 0.0


async def test_connections_that_the_engine_closes_are_noted() -> None:
    """Not those that the proxy closes itself."""
    closing = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await closing.wait()

    async with engine(script) as scripted:
        pool = pooled()
        first, second = await two(pool, scripted)
        assert pool.reuse(at(scripted.port)) is second
        second.abort()
        await asyncio.sleep(0)
        assert pool.broken_at("e") == 0.0
        closing.set()
        while not first.transport.is_closing():
            await asyncio.sleep(0)
        while not pool.broken_at("e"):
            await asyncio.sleep(0)


class Reader:
    """Queues what comes."""

    def __init__(self) -> None:
        self.pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self.stalls = 0

    def received(self, data: bytes) -> None:
        self.pieces.put_nowait(data)

    def stalled(self) -> None:
        self.stalls += 1

    def lost(self, error: Exception | None) -> None:
        raise AssertionError("the engine never closes")
