"""From a decision to an ending: retries, backends that fail, and what is booked."""

from __future__ import annotations

import asyncio
import gc

import pytest

from paceline.scheduler.types import Usage
from tests.proxy.rig import CHAT, free_port, proxied
from tests.proxy.scripted import SSE_HEAD, Conversation, Script, always, chunked, reply

GOOD = reply(b'{"usage":{"prompt_tokens":9,"completion_tokens":3}}')


async def dies_unanswered(conversation: Conversation) -> None:
    """Answer once, then close on the second request without a word."""
    await conversation.request()
    await conversation.say(GOOD)
    await conversation.request()
    conversation.hang_up()


async def refuses(conversation: Conversation) -> None:
    """Close on every request without a word."""
    await conversation.request()
    conversation.hang_up()


async def test_a_message_that_breaks_off_ends_with_an_error() -> None:
    """Anthropic's clients look for an event of this name, and raise what it says."""

    async def breaking(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(SSE_HEAD + chunked(b"event: message_start\ndata: {}\n\n"))

    async with proxied(breaking) as proxy:
        caller = await proxy.dial()
        body = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"a"}]}'
        await caller.post(body, "/v1/messages")
        said = await caller.rest()
    assert b'event: error\ndata: {"type":"error","error":{"type":"api_error"' in said


async def test_answer_is_booked() -> None:
    """First byte, end and usage reach the scheduler and the record, in this order."""
    async with proxied(always(GOOD)) as proxy:
        await proxy.ask()
        record = await proxy.records.get()
    assert proxy.driver.log == ["admit", "finished"]
    assert proxy.driver.usage == Usage(prompt_tokens=9, output_tokens=3)
    assert (record.outcome, record.status, record.attempts) == ("finished", 200, 1)
    instants = (record.arrived_at, record.dispatched_at, record.first_byte_at, record.ended_at)
    assert sorted(one for one in instants if one is not None) == list(instants)


async def says_nonsense(conversation: Conversation) -> None:
    """What is no reply at all."""
    await conversation.request()
    await conversation.say(b"HTTP/9 what?\r\n\r\n")


@pytest.mark.parametrize("script", [refuses, says_nonsense])
async def test_a_request_that_failed_is_freed_at_once(script: Script) -> None:
    """Its body does not wait for the collector, which comes late where memory is large."""
    gc.disable()
    try:
        async with proxied(script) as proxy:
            assert (await proxy.ask()).status == 502
            async with asyncio.timeout(5.0):
                while proxy.gateway.memory.held:
                    await asyncio.sleep(0)
    finally:
        gc.enable()


async def test_client_errors_are_passed_on() -> None:
    """A 4xx is the engine's answer; it is not tried elsewhere."""
    wrong = reply(b'{"error":{}}', "400 Bad Request")
    async with proxied(always(wrong), always(GOOD)) as proxy:
        answer = await proxy.ask()
    assert (answer.status, answer.body) == (400, b'{"error":{}}')
    assert proxy.driver.log == ["admit", "failed"]


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
async def test_retry_after_is_passed_on_or_set(status: str) -> None:
    """An engine that is busy says when to come back; where it does not, the proxy does."""
    for lines, expected in ((("Retry-After: 7",), "7"), ((), "1")):
        async with proxied(always(reply(b"", status, *lines))) as proxy:
            answer = await proxy.ask()
        assert answer.headers("retry-after") == [expected]


async def test_both_sides_keep_their_connections() -> None:
    """Requests on one client connection share one engine connection."""
    async with proxied(always(GOOD)) as proxy:
        client = await proxy.dial()
        for _ in range(3):
            await client.post()
            assert (await client.answer()).status == 200
    assert len(proxy.engines[0].conversations) == 1


async def test_kept_connection_that_was_closed_is_replaced() -> None:
    """A reused connection that drops unanswered costs nobody an error, and no second engine."""
    async with proxied(dies_unanswered) as proxy:
        assert [(await proxy.ask()).status for _ in range(2)] == [200, 200]
    assert proxy.driver.log == ["admit", "finished"] * 2


async def test_fresh_connection_that_is_dropped_is_not_retried() -> None:
    """The engine may have begun to generate: the client hears of it instead."""
    async with proxied(refuses, always(GOOD)) as proxy:
        answer = await proxy.ask()
    assert answer.status == 502
    assert proxy.driver.log == ["admit", "failed"]


async def test_engine_that_is_not_there_is_replaced() -> None:
    """A refused connection is no attempt: the scheduler names another engine."""
    async with proxied(free_port(), always(GOOD)) as proxy:
        answer = await proxy.ask()
    assert answer.status == 200
    assert answer.headers("x-paceline-backend") == ["e1"]
    assert proxy.driver.log == ["admit", "retry", "finished"]


async def test_no_engine_there_is_a_502() -> None:
    """After one other engine the proxy gives up."""
    async with proxied(free_port(), free_port(), always(GOOD)) as proxy:
        answer = await proxy.ask()
    assert answer.status == 502
    assert b"cannot be reached" in answer.body
    assert proxy.driver.log == ["admit", "retry", "failed"]


@pytest.mark.parametrize(
    "status", ["429 Too Many Requests", "502 Bad Gateway", "503 Service Unavailable"]
)
async def test_unavailable_engine_is_replaced_once(status: str) -> None:
    """Another engine gets it under an id of its own; that one's answer stands, whatever it is."""
    heads: list[str] = []

    def says(answer: bytes) -> Script:
        async def script(conversation: Conversation) -> None:
            heads.append((await conversation.request())[0])
            await conversation.say(answer)
            await conversation.until_closed()

        return script

    last = reply(b"second", status, "Retry-After: 3")
    async with proxied(says(reply(b"first", status)), says(last), always(GOOD)) as proxy:
        client = await proxy.dial()
        await client.post(CHAT, "/v1/chat/completions", "X-Request-Id: mine")
        answer = await client.answer()
        record = await proxy.records.get()
    assert answer.body == b"second"
    assert answer.headers("retry-after") == ["3"]
    assert answer.headers("x-request-id") == ["mine"]
    assert ["X-Request-Id: mine\r\n" in heads[0], "X-Request-Id: mine-2\r\n" in heads[1]] == [
        True
    ] * 2
    assert proxy.driver.log == ["admit", "retry", "failed"]
    assert record.attempts == 2


async def test_only_engine_may_say_that_it_is_unavailable() -> None:
    """With nobody else to ask, its 503 is passed on at once."""
    async with proxied(
        always(reply(b"full", "503 Service Unavailable", "Retry-After: 2"))
    ) as proxy:
        answer = await proxy.ask()
    assert (answer.status, answer.body, answer.headers("retry-after")) == (503, b"full", ["2"])
    assert proxy.driver.log == ["admit", "failed"]


async def test_retries_run_out() -> None:
    """When every engine is unavailable, the load on them is not doubled for long."""
    async with proxied(*[always(reply(b"", "503 Service Unavailable"))] * 2) as proxy:
        while proxy.gateway.retries.spend(proxy.driver.now()):
            pass
        await proxy.ask()
    assert proxy.driver.log == ["admit", "failed"]


async def test_a_backend_that_hangs_is_left() -> None:
    """What waits there without a byte goes elsewhere; the hung connection is closed."""
    asked = asyncio.Event()

    async def hangs(conversation: Conversation) -> None:
        await conversation.request()
        asked.set()
        await conversation.until_closed()

    async with proxied(hangs, always(GOOD)) as proxy:
        client = await proxy.dial()
        await client.post()
        await asked.wait()
        proxy.gateway.pool.abandon("e0")
        answer = await client.answer()
        await proxy.engines[0].conversations[0].closes_soon()
    assert answer.headers("x-paceline-backend") == ["e1"]
    assert proxy.driver.log == ["admit", "retry", "finished"]


@pytest.mark.parametrize("beginning", [b"HTTP/1.1 200", SSE_HEAD, SSE_HEAD + chunked(b"data: 1")])
async def test_a_reply_that_has_begun_is_not_asked_for_again(beginning: bytes) -> None:
    """Not even when its engine hangs: it may wake up, and nobody generates twice."""
    goes_on = asyncio.Event()

    async def hangs(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(beginning)
        await goes_on.wait()
        await conversation.say((SSE_HEAD + chunked(b"data: 1") + chunked(b""))[len(beginning) :])

    async with proxied(hangs, always(GOOD)) as proxy:
        client = await proxy.dial()
        await client.post()
        while proxy.gateway.pool.last_byte_at("e0") is None:
            await asyncio.sleep(0)
        proxy.gateway.pool.abandon("e0")
        goes_on.set()
        answer = await client.answer()
    assert answer.headers("x-paceline-backend") == ["e0"]
    assert proxy.driver.log == ["admit", "finished"]


async def test_a_hung_backend_without_another_keeps_its_requests() -> None:
    """There is nobody to ask: it may wake up."""
    asked, goes_on = asyncio.Event(), asyncio.Event()

    async def hangs(conversation: Conversation) -> None:
        await conversation.request()
        asked.set()
        await goes_on.wait()
        await conversation.say(GOOD)

    async with proxied(hangs) as proxy:
        client = await proxy.dial()
        await client.post()
        await asked.wait()
        proxy.gateway.pool.abandon("e0")
        goes_on.set()
        assert (await client.answer()).status == 200


async def test_backends_are_judged_by_their_answers() -> None:
    """Failures open the breaker of the one that failed, and of nobody else."""
    async with proxied(refuses, always(GOOD)) as proxy:
        for _ in range(10):
            await proxy.ask()
        standings = [entry.standing for entry in proxy.gateway.directory]
    assert [standing.breaker.open for standing in standings] == [True, False]


async def test_the_clients_time_is_up() -> None:
    """Before the reply's head it is a 504, inside a stream a cut; the engine is not blamed."""

    async def streams(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(SSE_HEAD + chunked(b"data: 1\n\n"))
        await conversation.until_closed()

    async def silent(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.until_closed()

    async with proxied(silent, streams) as proxy:
        client = await proxy.dial()
        await client.post(CHAT, "/v1/chat/completions", "x-paceline-timeout: 0.05")
        answer = await client.answer()
        assert (answer.status, answer.headers("x-paceline-reason")) == (504, ["timeout"])
        await client.post(CHAT, "/v1/chat/completions", "x-paceline-timeout: 0.05")
        cut = await client.rest()
        assert cut.count(b"data: ") == 2
        assert b'"code":"timeout"' in cut
        assert not cut.endswith(b"0\r\n\r\n")
        for one in proxy.engines:
            await one.conversations[0].closes_soon()
        assert proxy.driver.log == ["admit", "failed"] * 2
        for entry in proxy.gateway.directory:
            assert [entry.standing.breaker.failed(0.0) for _ in range(4)] == [False] * 4


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", "inf", "1e999"])
async def test_a_timeout_must_be_a_number_of_seconds(value: str) -> None:
    """Anything else is the client's mistake."""
    async with proxied(always(GOOD)) as proxy:
        client = await proxy.dial()
        await client.post(CHAT, "/v1/chat/completions", f"x-paceline-timeout: {value}")
        answer = await client.answer()
    assert (answer.status, proxy.driver.log) == (400, [])
    assert b"x-paceline-timeout" in answer.body
