"""Requests that two parsers could read differently: none is accepted, none reaches an engine."""

from __future__ import annotations

import pytest

from tests.proxy.rig import CHAT, proxied
from tests.proxy.scripted import Conversation, always, reply

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


def behind_host(host: bytes) -> bytes:
    """A chat request with this instead of its Host header."""
    return with_headers(LENGTH).replace(HOST, host)


def first_line(old: bytes, new: bytes) -> bytes:
    """A chat request whose first line was tampered with."""
    line, rest = with_headers(LENGTH).split(b"\r\n", 1)
    return line.replace(old, new) + b"\r\n" + rest


SMUGGLED = b"GET /v1/models/smuggled HTTP/1.1\r\nHost: p\r\n\r\n"
SIZE = b"%x" % len(CHAT)
BODY = b"\r\n" + CHAT + b"\r\n0\r\n\r\n"

TWO_LENGTHS = {
    "length and chunks": with_headers(LENGTH + CHUNKED, CHUNKS),
    "chunks and length": with_headers(CHUNKED + LENGTH, CHUNKS),
    "CL.TE": with_headers(b"Content-Length: 6\r\n" + CHUNKED, b"0\r\n\r\n" + SMUGGLED),
    "TE.CL": with_headers(
        CHUNKED + b"Content-Length: 4\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
    ),
    "TE.TE": with_headers(CHUNKED + b"Transfer-Encoding: x\r\n", CHUNKS),
    "TE.TE reversed": with_headers(b"Transfer-Encoding: x\r\n" + CHUNKED, CHUNKS),
    "identity and length": with_headers(b"Transfer-Encoding: identity\r\n" + LENGTH),
    "length list": with_headers(b"Content-Length: 57, 57\r\n"),
    "two lengths": with_headers(LENGTH + b"Content-Length: 1\r\n"),
    "equal lengths": with_headers(LENGTH + LENGTH),
    "length in a trailer": chunks(SIZE + b"\r\n" + CHAT + b"\r\n0\r\nContent-Length: 5\r\n\r\n"),
}
BAD_LENGTHS = {
    "signed length": with_headers(b"Content-Length: +57\r\n"),
    "negative length": with_headers(b"Content-Length: -1\r\n"),
    "hex length": with_headers(b"Content-Length: 0x39\r\n"),
    "empty length": with_headers(b"Content-Length: \r\n"),
    "length in two": with_headers(b"Content-Length: 5 7\r\n"),
    "length with underscore": with_headers(b"Content-Length: 5_7\r\n"),
    "fractional length": with_headers(b"Content-Length: 57.0\r\n"),
    "length in Arabic digits": with_headers("Content-Length: \u0665\u0667\r\n".encode()),
    "length above 64 bits": with_headers(b"Content-Length: 18446744073709551673\r\n"),
    "space before colon of length": with_headers(b"Content-Length : 57\r\n"),
}
BAD_CODINGS = {
    "unknown coding": with_headers(b"Transfer-Encoding: xchunked\r\n", CHUNKS),
    "chunked is not last": with_headers(b"Transfer-Encoding: chunked, identity\r\n", CHUNKS),
    "chunked twice": with_headers(CHUNKED + CHUNKED, CHUNKS),
    "chunked twice in one": with_headers(b"Transfer-Encoding: chunked, chunked\r\n", CHUNKS),
    "chunked with weight": with_headers(b"Transfer-Encoding: chunked;q=1\r\n", CHUNKS),
    "chunked in quotes": with_headers(b'Transfer-Encoding: "chunked"\r\n', CHUNKS),
    "chunked and NUL": with_headers(b"Transfer-Encoding: chunked\x00\r\n", CHUNKS),
    "folded coding": with_headers(b"Transfer-Encoding:\r\n chunked\r\n", CHUNKS),
    "no coding": with_headers(b"Transfer-Encoding: \r\n", CHUNKS),
    "space before colon": with_headers(b"Transfer-Encoding : chunked\r\n", CHUNKS),
    "vertical tab": with_headers(b"Transfer-Encoding:\x0bchunked\r\n", CHUNKS),
    "HTTP/1.0 with chunks": chunks(CHUNKS).replace(b"HTTP/1.1", b"HTTP/1.0"),
}
BAD_CHUNKS = {
    "chunk overflow": chunks(b"ffffffffffffffffff" + BODY),
    "chunk above 64 bits": chunks(b"10000000000000039" + BODY),
    "chunk size 0x": chunks(b"0x39" + BODY),
    "chunk size underscore": chunks(b"3_9" + BODY),
    "chunk size minus": chunks(b"-39" + BODY),
    "chunk size plus": chunks(b"+39" + BODY),
    "no chunk size": chunks(BODY),
    "space before chunk size": chunks(b" 39" + BODY),
    "space after chunk size": chunks(b"39 " + BODY),
    "chunk bare LF": chunks(CHUNKS.replace(b"\r\n", b"\n")),
    "chunk bare CR": chunks(b"39\r" + BODY[2:]),
    "last chunk LF": chunks(SIZE + b"\r\n" + CHAT + b"\r\n0\n\n"),
    "chunk extension LF": chunks(b"39;a\nb" + BODY),
    "chunk extension CR": chunks(b"39;a\rb" + BODY),
    "chunk extension NUL": chunks(b"39;a\x00b" + BODY),
    "no CRLF after chunk": chunks(b"39\r\n" + CHAT + b"0\r\n\r\n"),
    "chunk too short": chunks(b"38" + BODY),
    "chunk too long": chunks(b"3a" + BODY),
    "bad trailer": chunks(SIZE + b"\r\n" + CHAT + b"\r\n0\r\nX y\r\n\r\n"),
    "folded trailer": chunks(SIZE + b"\r\n" + CHAT + b"\r\n0\r\nX: y\r\n z\r\n\r\n"),
    "large trailer": chunks(SIZE + b"\r\n" + CHAT + b"\r\n0\r\nX: " + b"y" * 200_000 + b"\r\n\r\n"),
    "many trailers": chunks(SIZE + b"\r\n" + CHAT + b"\r\n0\r\n" + b"X: y\r\n" * 5000 + b"\r\n"),
}
BAD_LINES = {
    "bare LF head": with_headers(LENGTH).replace(b"\r\n", b"\n"),
    "bare CR head": LINE + HOST + LENGTH + b"\r\r\n" + CHAT,
    "CR in value": with_headers(b"X: a\rb\r\n" + LENGTH),
    "CR before CRLF": with_headers(b"X: a\r\r\n" + LENGTH),
    "NUL in value": with_headers(b"X: a\x00b\r\n" + LENGTH),
    "NUL in name": with_headers(b"X\x00a: b\r\n" + LENGTH),
    "control in value": with_headers(b"X: \x01\r\n" + LENGTH),
    "DEL in value": with_headers(b"X: \x7f\r\n" + LENGTH),
    "folded line": with_headers(b"X: a\r\n b\r\n" + LENGTH),
    "folded first line": LINE + b" X: a\r\n" + HOST + LENGTH + b"\r\n" + CHAT,
    "empty name": with_headers(b": a\r\n" + LENGTH),
    "bad name": with_headers(b"X Y: a\r\n" + LENGTH),
    "name in UTF-8": with_headers("é: a\r\n".encode() + LENGTH),
    "no colon": with_headers(b"Xa\r\n" + LENGTH),
}
BAD_HOSTS = {
    "no Host": behind_host(b""),
    "two Hosts": with_headers(b"Host: q\r\n" + LENGTH),
    "equal Hosts": with_headers(HOST + LENGTH),
    "empty Host": behind_host(b"Host: \r\n"),
    "Host with blank": behind_host(b"Host: a b\r\n"),
    "Host with user": behind_host(b"Host: u@p\r\n"),
    "Host with path": behind_host(b"Host: p/x\r\n"),
    "Host list": behind_host(b"Host: a,b\r\n"),
    "Host with fragment": behind_host(b"Host: p#x\r\n"),
    "Host with named port": behind_host(b"Host: p:http\r\n"),
    "Host with open bracket": behind_host(b"Host: [::1\r\n"),
}
BAD_FIRST_LINES = {
    "absolute form": first_line(b" /v1", b" http://other/v1"),
    "absolute form, same host": first_line(b" /v1", b" http://p/v1"),
    "relative target": first_line(b"/v1/", b"v1/"),
    "backslash target": first_line(b" /v1/", b" \\v1/"),
    "blank in target": first_line(b"/v1/", b"/v1 /"),
    "NUL in target": first_line(b"/v1/", b"/v1\x00/"),
    "control in target": first_line(b"/v1/", b"/v1\x01/"),
    "UTF-8 in target": first_line(b"/v1/", "/é/".encode()),
    "fragment in target": first_line(b"completions", b"completions#x"),
    "tab after method": first_line(b"POST ", b"POST\t"),
    "blank before method": b" " + with_headers(LENGTH),
    "lower-case method": first_line(b"POST", b"post"),
    "unknown method": first_line(b"POST", b"BREW"),
    "long method": first_line(b"POST", b"P" * 5000),
    "bad method": first_line(b"POST", b"PO(ST"),
    "HTTP/9.9": first_line(b"HTTP/1.1", b"HTTP/9.9"),
    "HTTP/1.2": first_line(b"HTTP/1.1", b"HTTP/1.2"),
    "HTTP/1.10": first_line(b"HTTP/1.1", b"HTTP/1.10"),
    "HTTP/01.1": first_line(b"HTTP/1.1", b"HTTP/01.1"),
    "lower-case version": first_line(b"HTTP/1.1", b"http/1.1"),
    "another protocol": first_line(b"HTTP/1.1", b"ICE/1.0"),
    "RTSP/1.0": first_line(b"HTTP/1.1", b"RTSP/1.0"),
    "RTSP/1.1": first_line(b"HTTP/1.1", b"RTSP/1.1"),
    "two blanks before the version": first_line(b" HTTP/1.1", b"  HTTP/1.1"),
    "three blanks before the version": first_line(b" HTTP/1.1", b"   HTTP/1.0"),
    "two blanks before RTSP": first_line(b" HTTP/1.1", b"  RTSP/1.0"),
    "two blanks before the target": first_line(b"POST ", b"POST  "),
    "tab before the version": first_line(b" HTTP/1.1", b"\tHTTP/1.1"),
    "blank after the version": first_line(b"HTTP/1.1", b"HTTP/1.1 "),
    "preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
    "SSH": b"SSH-2.0-OpenSSH_9.0\r\n",
    "PROXY protocol": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + with_headers(LENGTH),
    "all bytes": bytes(range(256)),
}
LARGE = {
    "head too large": with_headers(b"X: %b\r\n" % (b"x" * 40_000) + LENGTH),
    "target too large": first_line(b"completions", b"completions?" + b"a" * 40_000),
    "many large headers": with_headers(
        b"".join(b"X-%d: %b\r\n" % (i, b"x" * 4000) for i in range(10)) + LENGTH
    ),
    "too many headers": with_headers(b"X: y\r\n" * 500 + LENGTH),
}
MALFORMED = (
    TWO_LENGTHS
    | BAD_LENGTHS
    | BAD_CODINGS
    | BAD_CHUNKS
    | BAD_LINES
    | BAD_HOSTS
    | BAD_FIRST_LINES
    | LARGE
)
OTHER_STATUS = {
    "many large headers": 431,
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_request_is_refused(name: str) -> None:
    """It gets one answer, a 400 unless there is a better one; the connection is closed, and no
    engine hears of it or of a request hidden in it."""
    async with proxied(always(reply(b"{}"))) as proxy:
        client = await proxy.dial()
        client.say(MALFORMED[name])
        seen = await client.rest()
    head, _, body = seen.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % OTHER_STATUS.get(name, 400))
    assert head.lower().count(b"content-length: %d" % len(body)) == 1
    assert b"\r\nConnection: close" in head
    assert proxy.engines[0].conversations == []


BETTER_ANSWERS = {
    "larger than the limit": (with_headers(b"Content-Length: 99999999999\r\n"), 413),
    "another coding": (with_headers(b"Transfer-Encoding: gzip, chunked\r\n", CHUNKS), 501),
    "an empty coding": (with_headers(b"Transfer-Encoding: ,chunked\r\n", CHUNKS), 501),
    "another expectation": (with_headers(b"Expect: 200-maybe\r\n" + LENGTH), 417),
    "HTTP/2.0": (first_line(b"HTTP/1.1", b"HTTP/2.0"), 505),
    "HTTP/0.9": (b"GET /v1/models/m\r\n\r\n", 505),
    "no version": (first_line(b" HTTP/1.1", b""), 505),
    "TRACE": (first_line(b"POST", b"TRACE"), 501),
}


@pytest.mark.parametrize("name", BETTER_ANSWERS)
async def test_what_is_understood_but_not_supported_is_told_apart(name: str) -> None:
    """Its status says what is the matter."""
    request_, status = BETTER_ANSWERS[name]
    async with proxied(always(reply(b"{}"))) as proxy:
        client = await proxy.dial()
        client.say(request_)
        answer = await client.answer()
    assert (answer.status, answer.headers("connection")) == (status, ["close"])
    assert proxy.engines[0].conversations == []


TOLERATED = {
    "empty line before": b"\r\n" + with_headers(LENGTH),
    "zeros before the length": with_headers(b"Content-Length: 0000057\r\n"),
    "coding in another case": with_headers(b"Transfer-Encoding:\tcHuNkEd\r\n", CHUNKS),
    "chunk extension": chunks(b'39;a="b;c"' + BODY),
    "zeros before the chunk size": chunks(b"00000000000000000039" + BODY),
    "trailer": chunks(SIZE + b"\r\n" + CHAT + b"\r\n0\r\nX-Trailer: y\r\n\r\n"),
    "Latin-1 in a value": with_headers(b"X: \xe9\r\n" + LENGTH),
    "Connection lists what frames": with_headers(
        b"Connection: content-length, host, transfer-encoding\r\n" + LENGTH
    ),
    "Host in brackets": behind_host(b"Host: [::1]:8000\r\n"),
}


@pytest.mark.parametrize("name", TOLERATED)
async def test_what_is_unusual_reaches_the_engine_in_one_usual_form(name: str) -> None:
    """One Host, one Content-Length, no chunks, no trailer: nothing is left to read differently."""
    seen: list[tuple[str, bytes]] = []

    async def script(conversation: Conversation) -> None:
        seen.append(await conversation.request())
        await conversation.say(reply(b"{}"))
        await conversation.until_closed()

    async with proxied(script) as proxy:
        client = await proxy.dial()
        client.say(TOLERATED[name])
        assert (await client.answer()).status == 200
    ((head, body),) = seen
    assert body == CHAT
    lines = [line.partition(":")[0].lower() for line in head.split("\r\n")]
    assert (lines.count("host"), lines.count("content-length")) == (1, 1)
    assert f"Content-Length: {len(CHAT)}\r\n" in head
    assert not {"transfer-encoding", "connection", "x-trailer"} & set(lines)


async def test_chunks_with_more_framing_than_content_are_refused() -> None:
    """Extensions that nobody reads must not be a way past the limit on bodies."""
    async with proxied(always(reply(b"{}"))) as proxy:
        client = await proxy.dial()
        client.say(chunks((b"1;" + b"a" * 2000 + b"\r\n{\r\n") * 1000))
        assert (await client.answer()).status == 400


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
