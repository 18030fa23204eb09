"""Clients that leave: nothing more is done for them, and nobody is blamed."""

from __future__ import annotations

import asyncio
import gc

import pytest

from tests.proxy.rig import proxied
from tests.proxy.scripted import PROMPT, SSE_HEAD, Conversation, always, chunked, reply

GOOD = reply(b'{"usage":{"prompt_tokens":9,"completion_tokens":3}}')


async def test_client_that_leaves_the_queue_is_taken_out() -> None:
    """Nothing is sent to an engine for it."""
    async with proxied(always(GOOD)) as proxy:
        proxy.driver.gate = asyncio.get_running_loop().create_future()
        client = await proxy.dial()
        await client.post()
        await proxy.driver.waiting.wait()
        client.hang_up()
        record = await asyncio.wait_for(proxy.records.get(), PROMPT)
    assert proxy.driver.log == ["admit", "cancelled"]
    assert (record.outcome, proxy.engines[0].conversations) == ("cancelled", [])


@pytest.mark.parametrize(
    "beginning",
    [b"", b"HTTP/1.1 200", SSE_HEAD, SSE_HEAD + chunked(b"data: 1\n\n")],
    ids=["no byte", "half a head", "head", "body"],
)
async def test_client_that_leaves_aborts_the_engine(beginning: bytes) -> None:
    """Whatever the engine has sent so far, its connection is closed at once."""
    asked = asyncio.Event()

    async def engine(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(beginning)
        asked.set()
        await conversation.until_closed()

    async with proxied(engine) as proxy:
        client = await proxy.dial()
        await client.post()
        await asked.wait()
        if beginning.startswith(SSE_HEAD):
            await client.head()
        if beginning.endswith(b"\n\n\r\n"):
            await client.reader.readuntil(b"data: 1\n\n\r\n")
        client.hang_up()
        await proxy.engines[0].conversations[0].closes_soon()
        record = await proxy.records.get()
    assert proxy.driver.log[-1] == "cancelled"
    assert proxy.driver.log.count("cancelled") == 1
    assert record.outcome == "cancelled"


async def test_client_that_leaves_while_uploading_reaches_no_engine() -> None:
    """Half a body is no request."""
    async with proxied(always(GOOD)) as proxy:
        client = await proxy.dial()
        client.say(b"POST /v1/completions HTTP/1.1\r\nHost: p\r\nContent-Length: 100\r\n\r\n{")
        await client.writer.drain()
        client.writer.write_eof()
        await client.rest()
        record = await asyncio.wait_for(proxy.records.get(), PROMPT)
    assert (record.outcome, proxy.driver.log) == ("cancelled", [])


async def test_client_that_leaves_after_done_was_served() -> None:
    """Once `[DONE]` was passed on, hanging up before the last framing byte is no cancellation."""

    async def engine(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(SSE_HEAD + chunked(b"data: [DONE]\n\n"))
        await conversation.until_closed()

    async with proxied(engine) as proxy:
        client = await proxy.dial()
        await client.post()
        await client.reader.readuntil(b"[DONE]")
        client.hang_up()
        record = await proxy.records.get()
    assert (record.outcome, proxy.driver.log[-1]) == ("finished", "finished")


async def test_a_client_that_leaves_is_nobodys_failure() -> None:
    """The engine was asked for something that was no longer wanted."""
    asked: asyncio.Queue[None] = asyncio.Queue()

    async def silent(conversation: Conversation) -> None:
        await conversation.request()
        asked.put_nowait(None)
        await conversation.until_closed()

    async with proxied(silent) as proxy:
        for _ in range(10):
            client = await proxy.dial()
            await client.post()
            await asked.get()
            client.hang_up()
            await proxy.records.get()
        assert not proxy.gateway.directory["e0"].standing.breaker.open


async def test_a_request_whose_client_left_is_freed_at_once() -> None:
    """Its body does not wait for the collector, which comes late where memory is large."""

    async def begins(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(SSE_HEAD + chunked(b"data: {}\n\n"))
        await conversation.until_closed()

    gc.disable()
    try:
        async with proxied(begins) as proxy:
            caller = await proxy.dial()
            await caller.post()
            await caller.reader.readuntil(b"data: {}")
            caller.hang_up()
            async with asyncio.timeout(5.0):
                while proxy.gateway.memory.held:
                    await asyncio.sleep(0)
    finally:
        gc.enable()
