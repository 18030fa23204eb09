"""Requests that two parsers could read differently: none is accepted, none reaches an engine."""

from __future__ import annotations

import pytest

from tests.proxy.rig import CHAT, proxied
from tests.proxy.scripted import always, reply

LENGTH = b"Content-Length: %d\r\n" % len(CHAT)
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(CHAT), CHAT)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LINE = b"POST /v1/chat/completions HTTP/1.1\r\n"
HOST = b"Host: p\r\n"


def with_headers(lines: bytes, body: bytes = CHAT) -> bytes:
    """A chat request with these header lines behind Host."""
    return LINE + HOST + lines + b"\r\n" + body


def chunks(body: bytes) -> bytes:
    """A chat request with this chunked body."""
    return with_headers(CHUNKED, body)


MALFORMED = {
    "length and chunks": with_headers(LENGTH + CHUNKED, CHUNKS),
    "chunks and length": with_headers(CHUNKED + LENGTH, CHUNKS),
    "length list": with_headers(b"Content-Length: 57, 57\r\n"),
    "two lengths": with_headers(LENGTH + b"Content-Length: 1\r\n"),
    "signed length": with_headers(b"Content-Length: +57\r\n"),
    "negative length": with_headers(b"Content-Length: -1\r\n"),
    "hex length": with_headers(b"Content-Length: 0x39\r\n"),
    "unknown coding": with_headers(b"Transfer-Encoding: xchunked\r\n", CHUNKS),
    "chunked is not last": with_headers(b"Transfer-Encoding: chunked, identity\r\n", CHUNKS),
    "chunked twice": with_headers(CHUNKED + CHUNKED, CHUNKS),
    "space before colon": with_headers(b"Transfer-Encoding : chunked\r\n", CHUNKS),
    "vertical tab": with_headers(b"Transfer-Encoding:\x0bchunked\r\n", CHUNKS),
    "chunk overflow": chunks(b"ffffffffffffffffff\r\n" + CHAT),
    "chunk size 0x": chunks(b"0x39\r\n" + CHAT + b"\r\n0\r\n\r\n"),
    "chunk size underscore": chunks(b"3_9\r\n" + CHAT + b"\r\n0\r\n\r\n"),
    "chunk bare LF": chunks(CHUNKS.replace(b"\r\n", b"\n")),
    "chunk extension LF": chunks(b"39;a\nb\r\n" + CHAT + b"\r\n0\r\n\r\n"),
    "no CRLF after chunk": chunks(b"39\r\n" + CHAT + b"0\r\n\r\n"),
    "bare LF head": with_headers(LENGTH).replace(b"\r\n", b"\n"),
    "CR in value": with_headers(b"X: a\rb\r\n" + LENGTH),
    "NUL in value": with_headers(b"X: a\x00b\r\n" + LENGTH),
    "folded line": with_headers(b"X: a\r\n b\r\n" + LENGTH),
    "empty name": with_headers(b": a\r\n" + LENGTH),
    "bad name": with_headers(b"X Y: a\r\n" + LENGTH),
    "no Host": LINE + LENGTH + b"\r\n" + CHAT,
    "two Hosts": with_headers(b"Host: q\r\n" + LENGTH),
    "HTTP/1.0 with chunks": chunks(CHUNKS).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "HTTP/9.9": with_headers(LENGTH).replace(b"HTTP/1.1", b"HTTP/9.9"),
    "absolute form": with_headers(LENGTH).replace(b" /v1", b" http://other/v1"),
    "head too large": with_headers(b"X: %b\r\n" % (b"x" * 40_000) + LENGTH),
    "many large headers": with_headers(
        b"".join(b"X-%d: %b\r\n" % (i, b"x" * 4000) for i in range(10)) + LENGTH
    ),
    "too many headers": with_headers(b"X: y\r\n" * 500 + LENGTH),
}


@pytest.mark.parametrize("request_", MALFORMED.values(), ids=MALFORMED.keys())
async def test_malformed_request_is_refused(request_: bytes) -> None:
    """It gets one 4xx, the connection is closed, and no engine hears of it."""
    async with proxied(always(reply(b"{}"))) as proxy:
        client = await proxy.dial()
        client.say(request_)
        seen = await client.rest()
    assert seen.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
    head, _, body = seen.partition(b"\r\n\r\n")
    assert b"Content-Length: %d\r\n" % len(body) in head + b"\r\n"
    assert proxy.engines[0].conversations == []


@pytest.mark.parametrize(
    "line",
    [b"OPTIONS http://other/v1/models", b"OPTIONS *", b"CONNECT other:80"],
    ids=["absolute form", "asterisk", "authority form"],
)
async def test_only_paths_are_targets(line: bytes) -> None:
    """Whom the request is for is said by the connection, not by its target."""
    async with proxied(always(reply(b"{}"))) as proxy:
        client = await proxy.dial()
        client.say(line + b" HTTP/1.1\r\nHost: other\r\n\r\n")
        assert (await client.answer()).status in (400, 404)
    assert proxy.engines[0].conversations == []


async def test_upgrade_is_not_offered() -> None:
    """A WebSocket handshake gets 501 instead of silence."""
    async with proxied(always(reply(b"{}"))) as proxy:
        client = await proxy.dial()
        client.say(
            b"GET /v1/realtime HTTP/1.1\r\nHost: p\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        answer = await client.answer()
    assert (answer.status, answer.headers("connection")) == (501, ["close"])


async def test_offered_http2_is_declined_by_answering() -> None:
    """A client that would rather speak h2c (curl --http2) is served over HTTP/1.1."""
    async with proxied(always(reply(b"yes"))) as proxy:
        client = await proxy.dial()
        client.say(
            b"GET /v1/responses/m HTTP/1.1\r\nHost: p\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            b"Upgrade: h2c\r\nHTTP2-Settings: AAM\r\n\r\n"
        )
        assert (await client.answer()).body == b"yes"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"model":"m"}',
        b'{"model":"m","messages":"hi"}',
        b'{"model":"m","messages":[]}',
        b'{"model":5,"messages":[{"role":"user","content":"a"}]}',
        CHAT[:-1] + b',"n":0}',
        CHAT.replace(b"hi", b"\xff\xfe"),
        CHAT.replace(b"hi", b"\\ud800"),
        b"[" * 100_000,
    ],
)
async def test_bad_body_is_a_400(body: bytes) -> None:
    """What no engine would serve is refused in OpenAI's shape, and the connection goes on."""
    async with proxied(always(reply(b"{}"))) as proxy:
        client = await proxy.dial()
        await client.post(body)
        answer = await client.answer()
        assert answer.status == 400
        assert b'"type":"invalid_request_error"' in answer.body
        await client.post()
        assert (await client.answer()).status == 200
