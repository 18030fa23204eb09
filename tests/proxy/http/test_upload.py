"""A body while it comes, in pieces and slowly."""

from __future__ import annotations

import asyncio

import pytest

from tests.fuzz.wire import GOOD, play
from tests.proxy.http.dawdling import every, limited
from tests.proxy.rig import CHAT, proxied
from tests.proxy.scripted import always, reply


async def test_body_that_stalls_is_a_408() -> None:
    """A client that stops uploading does not hold its connection for ever."""
    async with proxied(always(reply()), config=limited(body_seconds=0.05)) as proxy:
        client = await proxy.dial()
        client.say(b"POST /v1/completions HTTP/1.1\r\nHost: p\r\nContent-Length: 100\r\n\r\n{")
        answer = await client.answer()
    assert (answer.status, answer.headers("connection")) == (408, ["close"])


async def test_body_that_trickles_is_a_408() -> None:
    """A byte now and then does not do: what counts is how much has come in all."""
    config = limited(body_seconds=0.2, body_kb_per_second=64)
    async with proxied(always(reply()), config=config) as proxy:
        client = await proxy.dial()
        client.say(b"POST /v1/completions HTTP/1.1\r\nHost: p\r\nContent-Length: 9999\r\n\r\n")
        trickle = asyncio.create_task(every(0.02, client, b"x"))
        assert (await client.answer()).status == 408
        trickle.cancel()


async def test_body_at_the_slowest_speed_is_taken() -> None:
    """A slow line is no attack: each byte buys time."""
    config = limited(body_seconds=0.3, body_kb_per_second=0.1)
    async with proxied(always(reply(b"yes")), config=config) as proxy:
        client = await proxy.dial()
        client.say(b"POST /v1/chat/completions HTTP/1.1\r\nHost: p\r\nContent-Length: 57\r\n\r\n")
        sending = asyncio.create_task(
            every(0.02, client, *(CHAT[i : i + 3] for i in range(0, 57, 3)))
        )
        assert (await client.answer()).body == b"yes"
        await sending


async def test_a_body_may_come_in_pieces() -> None:
    """It is forwarded once it is whole."""
    async with proxied(always(reply(b"yes"))) as proxy:
        client = await proxy.dial()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: p\r\nContent-Length: {len(CHAT)}\r\n"
        client.say(head.encode())
        for piece in (b"\r\n", CHAT[:10], CHAT[10:]):
            await client.writer.drain()
            client.say(piece)
        assert (await client.answer()).body == b"yes"


LOOKS_ODD = b"a\r\n\r\nGET  /y  HTTP/1.1\r\nb RTSP/1.0\r\n\r\nc"
"""What a body may hold."""
HEAD = b"POST /x HTTP/1.1\r\nHost: p\r\n"
SIZED = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(LOOKS_ODD), LOOKS_ODD)
CHUNKED = (
    HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n5;x\r\n%b\r\n%x\r\n%b\r\n00\r\nX: y\r\n\r\n"
    % (
        LOOKS_ODD[:5],
        len(LOOKS_ODD) - 5,
        LOOKS_ODD[5:],
    )
)


@pytest.mark.parametrize("size", [1, 7, 11, 1000])
async def test_what_bodies_hold_is_left_alone(size: int) -> None:
    """However it is cut, and though it looks like a request."""
    data = GOOD + SIZED + GOOD + CHUNKED + b"\r\n" + SIZED + GOOD
    seen, statuses = await play([data[at : at + size] for at in range(0, len(data), size)])
    good, odd = ("GET", "/good", b""), ("POST", "/x", LOOKS_ODD)
    assert seen == [good, odd, good, odd, odd, good]
    assert statuses == [b"200"] * 6


async def test_many_small_chunks_are_read_at_once() -> None:
    """aiohttp's reader would have the client wait, for somebody who reads piece by piece."""
    chunks = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 2000 + b"0\r\n\r\n"
    seen, statuses = await play([chunks])
    assert (seen, statuses) == ([("POST", "/x", b"a" * 2000)], [b"200"])
