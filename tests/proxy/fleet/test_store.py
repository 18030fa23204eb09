"""The store speaks to a server as Valkey and Redis understand it (tests/real has a real one)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from paceline.proxy.config import FleetConfig
from paceline.proxy.fleet.member import StoreLost
from paceline.proxy.fleet.store import RedisStore


class Server:
    """A stream of one key, in as much of RESP as is asked for."""

    def __init__(self) -> None:
        self.entries: list[tuple[bytes, bytes]] = []
        self.trims: list[bytes] = []
        self.error = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        while line := await reader.readline():
            words = [await self._word(reader) for _ in range(int(line[1:]))]
            known = words[0] in (b"XADD", b"XREAD", b"XREVRANGE")
            writer.write((self.error or self._answer(words)) if known else b"+OK\r\n")
        writer.close()

    async def _word(self, reader: asyncio.StreamReader) -> bytes:
        size = int((await reader.readline())[1:])
        return (await reader.readexactly(size + 2))[:-2]

    def _answer(self, words: list[bytes]) -> bytes:
        if words[0] == b"XADD":
            if b"MINID" in words:
                self.trims.append(words[words.index(b"MINID") + 2])
            self.entries.append((b"%d-0" % (20_000 + len(self.entries)), words[-1]))
            return _bulk(self.entries[-1][0])
        if words[0] == b"XREVRANGE":
            return _array(*map(_entry, self.entries[-1:]))
        new = [entry for entry in self.entries if entry[0] > words[-1]]
        return _array(_array(_bulk(b"s"), _array(*map(_entry, new)))) if new else b"*-1\r\n"


def _entry(entry: tuple[bytes, bytes]) -> bytes:
    return _array(_bulk(entry[0]), _array(_bulk(b"b"), _bulk(entry[1])))


def _bulk(data: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(data), data)


def _array(*items: bytes) -> bytes:
    return b"*%d\r\n%b" % (len(items), b"".join(items))


@asynccontextmanager
async def stored() -> AsyncIterator[tuple[Server, RedisStore]]:
    """A server and somebody's access to it."""
    server = Server()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    store = RedisStore(FleetConfig(url=f"redis://127.0.0.1:{port}"), "", "s")
    try:
        yield server, store
    finally:
        await store.close()
        listener.close()
        await listener.wait_closed()


async def test_what_is_appended_after_the_first_look_is_read_once() -> None:
    """Older batches are news to nobody; what is ten seconds old is trimmed."""
    async with stored() as (server, store):
        await store.append(b"before")
        assert await store.read() == []
        await store.append(b"one")
        await store.append(b"two")
        assert await store.read() == [b"one", b"two"]
        assert await store.read() == []
        assert server.trims == [b"10000", b"10001"]


async def test_a_store_that_says_no_is_lost() -> None:
    """As one that is full or wants a password; then it is looked anew where the stream ends."""
    async with stored() as (server, store):
        await store.append(b"one")
        server.error = b"-OOM command not allowed\r\n"
        with pytest.raises(StoreLost, match="not allowed"):
            await store.append(b"two")
        with pytest.raises(StoreLost, match="not allowed"):
            await store.read()
        server.error = b""
        await store.append(b"three")
        assert await store.read() == []
        await store.append(b"four")
        assert await store.read() == [b"four"]
