"""Replies on their way: bytes, framing, back-pressure, timeouts and deaths in the middle."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import suppress

import pytest

from paceline.proxy.config import Config, UpstreamConfig
from tests.proxy.rig import CHAT, Proxy, proxied
from tests.proxy.scripted import SSE_HEAD, Conversation, always, chunked, reply


async def test_reply_bytes_arrive_unchanged() -> None:
    """A reply's body is the engine's, whatever it holds: here gzip."""
    body = gzip.compress(b'{"usage":{"prompt_tokens":1}}')
    async with proxied(always(reply(body, "200 OK", "Content-Encoding: gzip"))) as proxy:
        answer = await proxy.ask()
        record = await proxy.records.get()
    assert answer.body == body
    assert answer.headers("content-encoding") == ["gzip"]
    assert record.usage.prompt_tokens is None


async def test_stream_passes_as_it_comes() -> None:
    """Each event reaches the client before the engine sends the next; chunks stay as they were."""
    read = asyncio.Event()

    async def engine(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(SSE_HEAD)
        for number in range(3):
            await conversation.say(chunked(b"data: %d\n\n" % number))
            await read.wait()
            read.clear()
        await conversation.say(b"0\r\n\r\n")

    async with proxied(engine) as proxy:
        client = await proxy.dial()
        await client.post()
        assert b"Transfer-Encoding: chunked" in await client.head()
        for number in range(3):
            expected = chunked(b"data: %d\n\n" % number)
            assert await client.reader.readexactly(len(expected)) == expected
            read.set()
        assert await client.reader.readexactly(5) == b"0\r\n\r\n"


async def test_byte_by_byte_reply_is_the_same_reply() -> None:
    """Neither heads nor chunk sizes need to come in one piece."""
    whole = SSE_HEAD + chunked("data: \u00e9\n\n".encode()) + b"A;ext=1\r\n0123456789\r\n0\r\n\r\n"

    async def engine(conversation: Conversation) -> None:
        await conversation.request()
        for at in range(len(whole)):
            await conversation.say(whole[at : at + 1])
            await asyncio.sleep(0)

    async with proxied(engine) as proxy:
        answer = await proxy.ask()
    assert answer.body == whole[len(SSE_HEAD) :]


async def test_interim_replies_are_skipped() -> None:
    """A 100 or 103 of the engine's is not the reply."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    async with proxied(always(interim + reply(b"yes"))) as proxy:
        answer = await proxy.ask()
    assert (answer.status, answer.body) == (200, b"yes")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_reply_without_body_ends_with_its_head(status: str) -> None:
    """After a 204 or 304 the connection serves the next request."""
    async with proxied(always(f"HTTP/1.1 {status}\r\n\r\n".encode())) as proxy:
        client = await proxy.dial()
        for _ in range(2):
            await client.post()
            assert status.encode() in await client.head()
    assert len(proxy.engines[0].conversations) == 1


async def test_head_reply_has_no_body() -> None:
    """The Content-Length of a HEAD's reply announces nothing to wait for."""
    async with proxied(always(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")) as proxy:
        client = await proxy.dial()
        for _ in range(2):
            client.say(b"HEAD /anything HTTP/1.1\r\nHost: proxy\r\n\r\n")
            assert b"Content-Length: 99" in await client.head()


async def test_reply_that_ends_with_its_connection_is_cut_into_chunks() -> None:
    """An HTTP/1.1 client can tell the end of an HTTP/1.0 engine's reply."""

    async def engine(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(b"HTTP/1.0 200 OK\r\n\r\nhello")

    async with proxied(engine) as proxy:
        answer = await proxy.ask()
    assert answer.body == chunked(b"hello") + b"0\r\n\r\n"


async def test_old_client_gets_no_chunks() -> None:
    """Chunked replies are unpacked for HTTP/1.0, and the connection's end is theirs."""
    stream = SSE_HEAD + chunked(b"data: 1\n\n") + chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    async with proxied(always(stream)) as proxy:
        client = await proxy.dial()
        client.say(
            b"POST /v1/completions HTTP/1.0\r\nHost: p\r\nContent-Length: 26\r\n\r\n"
            b'{"model":"m","prompt":"a"}'
        )
        head = await client.head()
        assert b"chunked" not in head
        assert b"Connection: close" in head
        assert await client.rest() == b"data: 1\n\ndata: [DONE]\n\n"


async def test_slow_client_pauses_its_engine() -> None:
    """A client that stops reading stops the engine; when it reads on, nothing is missing."""
    size, sent = 64 * 2**20, 0
    blocked = asyncio.Event()

    async def engine(conversation: Conversation) -> None:
        nonlocal sent
        await conversation.request()
        await conversation.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            conversation.writer.write(b"x" * 65536)
            sent += 65536
            try:
                await asyncio.wait_for(asyncio.shield(conversation.writer.drain()), 0.3)
            except TimeoutError:
                blocked.set()
                await conversation.writer.drain()

    async with proxied(engine) as proxy:
        client = await proxy.dial()
        await client.post()
        await client.head()
        await blocked.wait()
        assert sent < size / 2
        assert len(await client.reader.readexactly(size)) == size
        assert (await proxy.records.get()).outcome == "finished"


async def test_client_that_stops_reading_is_dropped() -> None:
    """It cannot hold an engine's work for longer than `idle_seconds`."""

    async def engine(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % 2**26)
        with suppress(ConnectionError):
            await conversation.say(b"x" * 2**26)
        conversation.closed.set()

    async with proxied(engine, config=impatient(idle_seconds=0.2)) as proxy:
        client = await proxy.dial()
        await client.post()
        await client.head()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        record = await proxy.records.get()
        await proxy.engines[0].conversations[0].closed.wait()
    assert (record.outcome, proxy.driver.log[-1]) == ("cancelled", "cancelled")


STREAMED = CHAT[:-1] + b',"stream":true}'


async def died(proxy: Proxy) -> tuple[bytes, str, list[str]]:
    """What a client saw of a reply that broke, and what was booked."""
    client = await proxy.dial()
    await client.post(STREAMED)
    await client.head()
    seen = await client.rest()
    return seen, (await proxy.records.get()).outcome, proxy.driver.log


async def test_stream_that_dies_ends_in_an_error_event() -> None:
    """Between two chunks there is room to say so; the final chunk is not invented."""

    async def engine(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(SSE_HEAD + chunked(b"data: 1\n\n"))

    async with proxied(engine) as proxy:
        seen, outcome, log = await died(proxy)
    assert seen.startswith(chunked(b"data: 1\n\n"))
    assert b'data: {"error":{"message":"The engine closed the connection' in seen
    assert not seen.endswith(b"0\r\n\r\n")
    assert (outcome, log) == ("failed", ["admit", "first_byte", "failed"])


@pytest.mark.parametrize(
    "start",
    [
        SSE_HEAD + b"20\r\ndata: cut",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{",
    ],
    ids=["inside a chunk", "inside a length"],
)
async def test_reply_that_dies_inside_a_frame_is_cut(start: bytes) -> None:
    """Where nothing can be said, nothing is added: the client sees an incomplete reply."""

    async def engine(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(start)

    async with proxied(engine) as proxy:
        seen, outcome, _ = await died(proxy)
    assert seen == start.partition(b"\r\n\r\n")[2]
    assert outcome == "failed"


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\nCont",
    ],
)
async def test_garbage_becomes_502(garbage: bytes) -> None:
    """What is not a reply is not passed on, and its connection is not used again."""

    async def engine(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(garbage)

    async with proxied(engine) as proxy:
        answer = await proxy.ask()
    assert answer.status == 502
    assert b'"type":"server_error"' in answer.body
    assert proxy.driver.log == ["admit", "failed"]


async def test_bytes_behind_a_reply_are_not_the_next_reply() -> None:
    """A connection on which an engine says more than was asked is closed."""
    begun = asyncio.Event()

    async def engine(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(SSE_HEAD + chunked(b"a"))
        await begun.wait()
        begun.clear()
        await conversation.say(b"0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await conversation.until_closed()

    async with proxied(engine) as proxy:
        client = await proxy.dial()
        for _ in range(2):
            await client.post()
            await client.head()
            begun.set()
            assert await client.reader.readexactly(11) == chunked(b"a") + b"0\r\n\r\n"
        await proxy.engines[0].conversations[0].closed.wait()
    assert len(proxy.engines[0].conversations) == 2


def impatient(**limits: float) -> Config:
    """A configuration with short limits, in seconds."""
    return Config(upstream=UpstreamConfig(**limits))


async def test_silence_before_the_first_byte_is_a_504() -> None:
    """With a limit set, an engine that never answers is given up."""

    async def engine(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.until_closed()

    async with proxied(engine, config=impatient(first_byte_seconds=0.05)) as proxy:
        answer = await proxy.ask()
        await proxy.engines[0].conversations[0].closed.wait()
    assert answer.status == 504


async def test_silence_inside_a_stream_ends_it() -> None:
    """An engine that stops in the middle is given up after `idle_seconds`."""

    async def engine(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(SSE_HEAD + chunked(b"data: 1\n\n"))
        await conversation.until_closed()

    async with proxied(engine, config=impatient(idle_seconds=0.05)) as proxy:
        seen, outcome, _ = await died(proxy)
    assert b"was silent for 0.05 s" in seen
    assert outcome == "failed"


async def test_prefill_has_no_time_limit() -> None:
    """The silence limit counts from the first body byte, not from the head."""

    async def engine(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(SSE_HEAD)
        await asyncio.sleep(0.15)
        await conversation.say(chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    async with proxied(engine, config=impatient(idle_seconds=0.05)) as proxy:
        assert (await proxy.ask(CHAT)).body.endswith(b"0\r\n\r\n")
