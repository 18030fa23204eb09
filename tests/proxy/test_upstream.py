"""Which connections are kept, for how long, and which is used next."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from paceline.proxy.address import Address
from paceline.proxy.config import UpstreamConfig
from paceline.proxy.upstream import ConnectFailed, Connection, Pool
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


class Reader:
    """Queues what comes."""

    def __init__(self) -> None:
        self.pieces: asyncio.Queue[bytes] = asyncio.Queue()

    def received(self, data: bytes) -> None:
        self.pieces.put_nowait(data)

    def lost(self, error: Exception | None) -> None:
        raise AssertionError("the engine never closes")
