"""A body while it comes, in pieces and slowly."""

from __future__ import annotations

import asyncio

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
