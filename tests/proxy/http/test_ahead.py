"""What a client sends ahead of its turn."""

from __future__ import annotations

import asyncio

from paceline.proxy.http.ahead import MAX_AHEAD
from tests.proxy.rig import CHAT, proxied
from tests.proxy.scripted import Conversation, always, reply


async def test_pipelined_requests_are_answered_in_order() -> None:
    """However many a client sends ahead, each gets its own answer."""

    async def echo(conversation: Conversation) -> None:
        while True:
            head, _ = await conversation.request()
            await conversation.say(reply(head.split(" ")[1].encode()))

    paths = [f"/v1/responses/m?{number}" for number in range(24)]
    async with proxied(echo) as proxy:
        client = await proxy.dial()
        client.say(b"".join(f"GET {path} HTTP/1.1\r\nHost: p\r\n\r\n".encode() for path in paths))
        answers = [(await client.answer()).body.decode() for _ in paths]
    assert answers == paths


async def test_a_body_is_answered_before_what_came_with_it() -> None:
    """A request behind a body in the same read does not overtake it."""

    async def echo(conversation: Conversation) -> None:
        while True:
            head, _ = await conversation.request()
            await conversation.say(reply(head.split(" ")[0].encode()))

    post = b"POST /v1/chat/completions HTTP/1.1\r\nHost: p\r\nContent-Length: %d\r\n\r\n%b"
    async with proxied(echo) as proxy:
        client = await proxy.dial()
        client.say(post % (len(CHAT), CHAT) + b"GET /v1/responses/m HTTP/1.1\r\nHost: p\r\n\r\n")
        assert [(await client.answer()).body for _ in range(2)] == [b"POST", b"GET"]


async def test_a_pipelined_body_may_come_late() -> None:
    """Its head has come with others, and waits for it when those are answered."""
    ahead = b"GET /v1/responses/m HTTP/1.1\r\nHost: p\r\n\r\n" * 7
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: p\r\nContent-Length: %d\r\n\r\n"
    async with proxied(always(reply(b"yes"))) as proxy:
        client = await proxy.dial()
        client.say(ahead + head % len(CHAT))
        for _ in range(7):
            assert (await client.answer()).body == b"yes"
        client.say(CHAT)
        assert (await client.answer()).body == b"yes"


async def test_a_client_that_sends_too_much_ahead_has_to_wait() -> None:
    """Reading stops, and goes on when what was read has its turn."""
    body = CHAT + b" " * MAX_AHEAD
    async with proxied(always(reply(b"yes"))) as proxy:
        gate = proxy.driver.gate = asyncio.get_running_loop().create_future()
        client = await proxy.dial()
        await client.post()
        await proxy.driver.waiting.wait()
        post = b"POST /v1/chat/completions HTTP/1.1\r\nHost: p\r\nContent-Length: %d\r\n\r\n%b"
        client.say(post % (len(body), body) * 3)
        memory = proxy.gateway.memory
        while memory.held < MAX_AHEAD:
            await asyncio.sleep(0)
        held = memory.held
        for _ in range(100):
            await asyncio.sleep(0)
        assert memory.held == held < 3 * MAX_AHEAD
        proxy.driver.gate = None
        gate.set_result(None)
        assert [(await client.answer()).body for _ in range(4)] == [b"yes"] * 4
        while memory.held:
            await asyncio.sleep(0)


async def test_garbage_behind_a_request_does_not_cost_its_answer() -> None:
    """The good one is answered, then the other is refused and the connection ends."""
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
        answers = await client.rest()
    assert b"\r\n\r\nyesHTTP/1.1 400 Bad Request\r\n" in answers
    assert answers.count(b"HTTP/1.1") == 2
