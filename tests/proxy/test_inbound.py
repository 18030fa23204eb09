"""A client's connection: one request after the other, and limits on how long they take."""

from __future__ import annotations

import asyncio

import pytest

from paceline.proxy import inbound
from tests.proxy.rig import CHAT, proxied
from tests.proxy.scripted import Conversation, always, reply


async def test_body_that_stalls_is_a_408(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that stops uploading does not hold its connection for ever."""
    monkeypatch.setattr(inbound, "STALL_SECONDS", 0.05)
    async with proxied(always(reply())) as proxy:
        client = await proxy.dial()
        client.say(b"POST /v1/completions HTTP/1.1\r\nHost: p\r\nContent-Length: 100\r\n\r\n{")
        answer = await client.answer()
    assert (answer.status, answer.headers("connection")) == (408, ["close"])


async def test_head_that_dribbles_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that does not end is given up, however regularly a line of it comes."""
    monkeypatch.setattr(inbound, "KEEPALIVE_SECONDS", 0.1)
    async with proxied(always(reply())) as proxy:
        client = await proxy.dial()
        client.say(b"GET /health HTTP/1.1\r\nHost: p\r\n")
        assert await client.rest() == b""


async def test_pipelined_requests_are_answered_in_order() -> None:
    """However many a client sends ahead, each gets its own answer."""

    async def echo(conversation: Conversation) -> None:
        while True:
            head, _ = await conversation.request()
            await conversation.say(reply(head.split(" ")[1].encode()))

    paths = [f"/v1/models/m?{number}" for number in range(3 * inbound.MAX_PIPELINED)]
    async with proxied(echo) as proxy:
        client = await proxy.dial()
        client.say(b"".join(f"GET {path} HTTP/1.1\r\nHost: p\r\n\r\n".encode() for path in paths))
        answers = [(await client.answer()).body.decode() for _ in paths]
    assert answers == paths


async def test_a_pipelined_body_may_come_late() -> None:
    """Reading goes on when the last of those that were read ahead has its turn."""
    ahead = b"GET /v1/models/m HTTP/1.1\r\nHost: p\r\n\r\n" * (inbound.MAX_PIPELINED - 1)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: p\r\nContent-Length: %d\r\n\r\n"
    async with proxied(always(reply(b"yes"))) as proxy:
        client = await proxy.dial()
        client.say(ahead + head % len(CHAT))
        for _ in range(inbound.MAX_PIPELINED - 1):
            assert (await client.answer()).body == b"yes"
        client.say(CHAT)
        assert (await client.answer()).body == b"yes"


async def test_garbage_behind_a_request_does_not_cost_its_answer() -> None:
    """The good one is answered, then the connection ends."""
    asked, answer = asyncio.Event(), asyncio.Event()

    async def engine(conversation: Conversation) -> None:
        await conversation.request()
        asked.set()
        await answer.wait()
        await conversation.say(reply(b"yes"))

    async with proxied(engine) as proxy:
        client = await proxy.dial()
        await client.post(CHAT)
        await asked.wait()
        client.say(b"\x00\x01 garbage\r\n\r\n")
        await client.writer.drain()
        answer.set()
        assert (await client.rest()).endswith(b"yes")


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


async def test_old_clients_are_answered_and_let_go() -> None:
    """HTTP/1.0 gets a reply that ends with its connection."""
    async with proxied(always(reply(b"yes"))) as proxy:
        client = await proxy.dial()
        client.say(b"GET /v1/models/m HTTP/1.0\r\nHost: p\r\n\r\n")
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
