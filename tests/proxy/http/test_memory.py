"""How many bytes of requests the proxy holds at once."""

from __future__ import annotations

import asyncio
import gc

import pytest

from paceline.proxy.config import Config, ServerConfig
from paceline.proxy.http.errors import ApiError
from paceline.proxy.http.memory import Memory
from tests.proxy.rig import CHAT, proxied
from tests.proxy.scripted import always, reply

KIB = 1024
TIGHT = Config(server=ServerConfig(max_buffered_mb=100 / KIB))
"""100 KiB."""
GOOD = reply(b"{}")


def test_room_is_given_back_with_the_request() -> None:
    """On whatever path it goes."""
    memory = Memory(100, lambda: 7.0)
    first, second = memory.hold(60), memory.hold(40)
    assert memory.held == 100
    del first
    assert memory.held == 40
    second.grow(30)
    assert memory.held == 40, "a body shorter than announced has its room"
    second.grow(90)
    assert memory.held == 90
    del second
    assert memory.held == 0


def test_what_does_not_fit_is_refused() -> None:
    """Nothing of it is counted."""
    memory = Memory(100, lambda: 7.0)
    one = memory.hold(60)
    with pytest.raises(ApiError) as refused:
        memory.hold(41)
    assert (refused.value.status, refused.value.retry_after) == (503, 7.0)
    with pytest.raises(ApiError):
        one.grow(101)
    del refused
    assert memory.held == 60


async def test_a_body_is_refused_before_it_is_read() -> None:
    """From its Content-Length, while others wait; and let in when they are gone."""
    async with proxied(always(GOOD), config=TIGHT) as proxy:
        proxy.driver.gate = asyncio.get_running_loop().create_future()
        waiting = await proxy.dial()
        await waiting.post(CHAT + b" " * 60 * KIB)
        await proxy.driver.waiting.wait()
        late = await proxy.dial()
        late.say(b"POST /v1/completions HTTP/1.1\r\nHost: p\r\nContent-Length: 50000\r\n\r\n")
        refused = await late.answer()
        assert (refused.status, refused.headers("retry-after")) == (503, ["3"])
        assert refused.headers("x-paceline-reason") == ["memory"]
        small = await proxy.dial()
        await small.post()
        proxy.driver.gate.set_result(None)
        assert (await waiting.answer()).status == 200
        assert (await small.answer()).status == 200
        again = await proxy.ask(CHAT + b" " * 60 * KIB)
    assert again.status == 200


@pytest.mark.parametrize("chunks", [1, 3])
async def test_a_body_without_a_length_is_counted_as_it_comes(chunks: int) -> None:
    """It is refused at the byte that does not fit."""
    piece = b"%x\r\n%b\r\n" % (120 * KIB // chunks, b" " * (120 * KIB // chunks))
    head = b"POST /v1/completions HTTP/1.1\r\nHost: p\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with proxied(always(GOOD), config=TIGHT) as proxy:
        client = await proxy.dial()
        client.say(head + piece * chunks + b"0\r\n\r\n")
        assert (await client.answer()).status == 503
        assert (await proxy.ask()).status == 200


async def test_what_is_sent_ahead_is_counted() -> None:
    """A request behind another one takes memory as well, and gives it back when it is served."""
    post = b"POST /v1/completions HTTP/1.1\r\nHost: p\r\nContent-Length: %d\r\n\r\n%b"
    async with proxied(always(GOOD), config=TIGHT) as proxy:
        memory = proxy.gateway.memory
        gate = proxy.driver.gate = asyncio.get_running_loop().create_future()
        client = await proxy.dial()
        await client.post()
        await proxy.driver.waiting.wait()
        client.say(post % (len(CHAT) + 60 * KIB, CHAT + b" " * 60 * KIB))
        while memory.held < 60 * KIB:
            await asyncio.sleep(0)
        assert (await proxy.ask(CHAT + b" " * 50 * KIB)).status == 503
        gate.set_result(None)
        proxy.driver.gate = None
        assert [(await client.answer()).status for _ in range(2)] == [200, 400]
        while memory.held:
            await asyncio.sleep(0)


async def test_what_is_sent_ahead_and_does_not_fit_is_dropped() -> None:
    """The one before it is answered, then the connection ends."""
    post = b"POST /v1/completions HTTP/1.1\r\nHost: p\r\nContent-Length: %d\r\n\r\n%b"
    async with proxied(always(GOOD), config=TIGHT) as proxy:
        gate = proxy.driver.gate = asyncio.get_running_loop().create_future()
        client = await proxy.dial()
        await client.post()
        await proxy.driver.waiting.wait()
        client.say((post % (60 * KIB, b" " * 60 * KIB)) * 2)
        await client.writer.drain()
        other = await proxy.dial()
        other.say(b"GET /health HTTP/1.1\r\nHost: p\r\n\r\n")
        await other.answer()
        gate.set_result(None)
        assert (await client.rest()).count(b"HTTP/1.1 200") == 1
        while proxy.gateway.memory.held:
            await asyncio.sleep(0)


async def test_nothing_is_held_when_all_is_over() -> None:
    """Answers, refusals, clients that leave while uploading or waiting: without the collector."""
    gc.disable()
    try:
        async with proxied(always(GOOD), config=TIGHT) as proxy:
            for _ in range(5):
                assert (await proxy.ask(CHAT + b" " * 60 * KIB)).status == 200
                assert (await proxy.ask(b"{" + b" " * 60 * KIB)).status == 400
                leaving = await proxy.dial()
                leaving.say(b"POST / HTTP/1.1\r\nHost: p\r\nContent-Length: 60000\r\n\r\n{")
                await leaving.writer.drain()
                leaving.writer.write_eof()
                await leaving.rest()
            for _ in range(3):
                proxy.driver.gate = asyncio.get_running_loop().create_future()
                waiting = await proxy.dial()
                proxy.driver.waiting.clear()
                await waiting.post(CHAT + b" " * 60 * KIB)
                await asyncio.wait_for(proxy.driver.waiting.wait(), 5.0)
                before = proxy.records.qsize()
                waiting.hang_up()
                while proxy.records.qsize() == before:
                    await asyncio.sleep(0)
            proxy.driver.gate = None
            assert (await proxy.ask(CHAT + b" " * 60 * KIB)).status == 200
    finally:
        gc.enable()
