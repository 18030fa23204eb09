"""The frame around every request: refusals, headers in and out, what passes through."""

from __future__ import annotations

import json

import pytest

from paceline.proxy.config import Config, ServerConfig
from paceline.scheduler.events import Reject
from tests.proxy.rig import CHAT, free_port, proxied
from tests.proxy.scripted import Conversation, Script, always, reply

GOOD = reply(b"{}")


def records(seen: list[tuple[str, bytes]]) -> Script:
    """An engine that answers well and keeps what it was asked."""

    async def script(conversation: Conversation) -> None:
        while True:
            seen.append(await conversation.request())
            await conversation.say(GOOD)

    return script


@pytest.mark.parametrize(
    ("reason", "status", "code", "retry_after"),
    [
        ("queue_full", 429, "queue_full", ["5"]),
        ("deadline", 503, "deadline", ["5"]),
        ("unknown_model", 404, "model_not_found", []),
    ],
)
async def test_refusals_speak_openai(
    reason: str, status: int, code: str, retry_after: list[str]
) -> None:
    """A refused request gets its status, when to come back, and the reason for machines."""
    async with proxied(always(GOOD)) as proxy:
        proxy.driver.refusal = Reject("x", reason, retry_after=4.2)
        answer = await proxy.ask()
        record = await proxy.records.get()
    assert answer.status == status
    assert set(json.loads(answer.body)["error"]) == {"message", "type", "param", "code"}
    assert json.loads(answer.body)["error"]["code"] == code
    assert answer.headers("x-paceline-reason") == [code]
    assert answer.headers("retry-after") == retry_after
    assert (record.outcome, record.reason, proxy.driver.log) == ("rejected", reason, ["admit"])


async def test_generate_is_refused_in_sglangs_words() -> None:
    """SGLang's own API has another error shape."""
    async with proxied(always(GOOD)) as proxy:
        answer = await proxy.ask(b"[]", "/generate")
    assert answer.status == 400
    assert set(json.loads(answer.body)["error"]) == {"message"}


async def test_reply_carries_our_headers() -> None:
    """The decision is shown, and an engine cannot speak for the proxy."""
    forged = reply(b"{}", "200 OK", "X-Paceline-Backend: me", "X-Request-Id: engine's")
    async with proxied(always(forged)) as proxy:
        answer = await proxy.ask()
        record = await proxy.records.get()
    assert answer.headers("x-paceline-backend") == ["e0"]
    assert answer.headers("x-paceline-queue-ms") == ["250.0"]
    assert answer.headers("x-paceline-cached-tokens") == ["7"]
    assert answer.headers("x-request-id") == [record.id]


async def test_priority_and_tenant_are_read() -> None:
    """They reach the record and, with it, the scheduler's request."""
    async with proxied(always(GOOD)) as proxy:
        client = await proxy.dial()
        lines = ("X-Paceline-Priority: -3", "X-Paceline-Tenant: blue")
        await client.post(CHAT, "/v1/chat/completions", *lines)
        await client.answer()
        record = await proxy.records.get()
    assert (record.priority, record.tenant, record.model) == (-3, "blue", "m")


async def test_priority_must_be_a_number() -> None:
    """Anything else is the client's mistake."""
    async with proxied(always(GOOD)) as proxy:
        client = await proxy.dial()
        await client.post(CHAT, "/v1/chat/completions", "X-Paceline-Priority: high")
        assert (await client.answer()).status == 400
    assert proxy.driver.log == []


async def test_body_reaches_the_engine_byte_for_byte() -> None:
    """Unknown fields, odd spacing and escapes: the engine gets what the client sent."""
    seen: list[tuple[str, bytes]] = []
    body = (
        b'{ "model" : "m",\n"x_new": [1e2, "\\u00e9\xc3\xa9"], "messages":[' + CHAT[25:-2] + b"]}"
    )
    async with proxied(records(seen)) as proxy:
        assert (await proxy.ask(body)).status == 200
    assert seen[0][1] == body


async def test_headers_of_a_connection_stay_on_it() -> None:
    """Hop-by-hop headers are dropped both ways; all others pass, duplicates and case kept."""
    seen: list[str] = []

    async def engine(conversation: Conversation) -> None:
        seen.append((await conversation.request())[0])
        lines = (
            "Set-Cookie: a=1",
            "Set-Cookie: b=2",
            "Connection: X-Secret",
            "X-Secret: s",
            "Keep-Alive: x",
        )
        await conversation.say(reply(b"{}", "200 OK", *lines))

    sent = (
        "Authorization: Bearer k",
        "X-NeW: 1",
        "X-New: 2",
        "Connection: keep-alive, X-Secret",
        "X-Secret: s",
        "Keep-Alive: timeout=5",
        "TE: trailers",
        "Proxy-Authorization: Basic x",
        "X-Forwarded-For: 1.2.3.4",
        "Expect: 100-continue",
    )
    async with proxied(engine) as proxy:
        client = await proxy.dial()
        await client.post(CHAT, "/v1/chat/completions?a=%20b", *sent)
        assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        answer = await client.answer()
    lines = seen[0].split("\r\n")
    assert lines[0] == "POST /v1/chat/completions?a=%20b HTTP/1.1"
    assert {"Authorization: Bearer k", "X-NeW: 1", "X-New: 2"} <= set(lines)
    assert "X-Forwarded-For: 1.2.3.4, 127.0.0.1" in lines
    assert f"Host: 127.0.0.1:{proxy.engines[0].port}" in lines
    names = [line.partition(":")[0].lower() for line in lines]
    assert not {
        "connection",
        "x-secret",
        "keep-alive",
        "te",
        "proxy-authorization",
        "expect",
    } & set(names)
    assert names.count("content-length") == names.count("host") == 1
    assert answer.headers("set-cookie") == ["a=1", "b=2"]
    assert (
        answer.headers("x-secret")
        == answer.headers("keep-alive")
        == answer.headers("connection")
        == []
    )


async def test_other_paths_pass_through() -> None:
    """Any method and path reaches an engine that is up, without the scheduler."""
    seen: list[tuple[str, bytes]] = []
    async with proxied(records(seen)) as proxy:
        client = await proxy.dial()
        client.say(b"DELETE /v1/files/7?x=1 HTTP/1.1\r\nHost: p\r\n\r\n")
        answer = await client.answer()
        record = await proxy.records.get()
    assert (answer.status, answer.body) == (200, b"{}")
    assert seen[0][0].startswith("DELETE /v1/files/7?x=1 HTTP/1.1\r\n")
    assert "content-length" not in seen[0][0].lower()
    assert (record.outcome, record.backend, proxy.driver.log) == ("finished", "e0", [])


async def test_passed_through_avoids_an_engine_that_is_not_there() -> None:
    """As for scheduled requests, a refused connection means another engine."""
    async with proxied(free_port(), always(GOOD)) as proxy:
        answer = await proxy.ask(b'{"model":"m"}', "/v1/embeddings")
    assert answer.headers("x-paceline-backend") == ["e1"]


async def test_passed_through_unknown_model_is_a_404() -> None:
    """In OpenAI's shape, without asking an engine."""
    async with proxied(always(GOOD)) as proxy:
        answer = await proxy.ask(b'{"model":"nope"}', "/v1/embeddings")
    assert answer.status == 404
    assert json.loads(answer.body)["error"]["code"] == "model_not_found"
    assert proxy.engines[0].conversations == []


async def test_large_body_is_refused_unread() -> None:
    """The Content-Length is enough to say 413; the connection is not used again."""
    config = Config(server=ServerConfig(max_body_mb=0.001))
    async with proxied(always(GOOD), config=config) as proxy:
        client = await proxy.dial()
        client.say(
            b"POST /v1/completions HTTP/1.1\r\nHost: p\r\nContent-Length: 104857600\r\n\r\n{"
        )
        answer = await client.answer()
    assert answer.status == 413
    assert answer.headers("connection") == ["close"]


async def test_large_chunked_body_is_refused() -> None:
    """Without a Content-Length the limit holds as well."""
    config = Config(server=ServerConfig(max_body_mb=0.001))
    async with proxied(always(GOOD), config=config) as proxy:
        client = await proxy.dial()
        client.say(
            b"POST /v1/completions HTTP/1.1\r\nHost: p\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        client.say(b"800\r\n" + b" " * 2048 + b"\r\n")
        assert (await client.answer()).status == 413


async def test_chunked_body_is_forwarded_with_its_length() -> None:
    """Engines get every body whole."""
    seen: list[tuple[str, bytes]] = []
    async with proxied(records(seen)) as proxy:
        client = await proxy.dial()
        client.say(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: p\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        client.say(b"%x\r\n%b\r\n0\r\n\r\n" % (len(CHAT), CHAT))
        assert (await client.answer()).status == 200
    assert seen[0][1] == CHAT
    assert "transfer-encoding" not in seen[0][0].lower()


async def test_compressed_body_is_not_unpacked() -> None:
    """The proxy leaves codings to the engine."""
    seen: list[tuple[str, bytes]] = []
    async with proxied(records(seen)) as proxy:
        client = await proxy.dial()
        await client.post(b"\x1f\x8b not really", "/v1/audio", "Content-Encoding: gzip")
        await client.answer()
    assert seen[0][1] == b"\x1f\x8b not really"
