"""Where heads begin is followed through all that comes between them."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser

from paceline.proxy.http.request_line import RequestLines

HEAD = b"POST /x HTTP/1.1\r\nHost: p\r\n"
GET = b"GET /y HTTP/1.1\r\nHost: p\r\n\r\n"
LOOKS_ODD = b"a\r\n\r\nGET  /y  HTTP/1.1\r\nb RTSP/1.0\r\n\r\nc"
"""What a body may hold."""
SIZED = HEAD + b"Content-Length: %d\r\n\r\n" % len(LOOKS_ODD) + LOOKS_ODD
CHUNKED = (
    HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n5;x\r\n%b\r\n%x\r\n%b\r\n00\r\nX: y\r\n\r\n"
    % (
        LOOKS_ODD[:5],
        len(LOOKS_ODD) - 5,
        LOOKS_ODD[5:],
    )
)
ODD = [
    GET.replace(b" HTTP", b"  HTTP"),
    GET.replace(b"GET ", b"GET  "),
    GET.replace(b"HTTP/1.1", b"RTSP/1.0"),
]
"""The parser takes all of them."""


def reads(data: bytes, size: int, queue: int = 0) -> list[bool]:
    """What is said of each read of `size` bytes; the parser may stop after `queue` messages."""
    loop = asyncio.new_event_loop()
    protocol = BaseProtocol(loop)
    parser = HttpRequestParser(protocol, loop, 2**16, max_msg_queue_size=queue)
    lines, said = RequestLines(), []
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    for piece in [*pieces, *[b""] * (3 if queue else 0)]:
        messages, _, _ = parser.feed_data(piece)
        for _ in messages:
            parser.message_consumed()
        said.append(lines.misread(piece, messages))
    loop.close()
    return said


@pytest.mark.parametrize("size", [1, 7, 11, 1000])
@pytest.mark.parametrize("queue", [0, 1])
def test_what_bodies_hold_is_left_alone(size: int, queue: int) -> None:
    """However it is cut, and also where the parser puts off what comes later."""
    assert not any(reads(GET + SIZED + GET + CHUNKED + b"\r\n" + SIZED + GET, size, queue))


@pytest.mark.parametrize("size", [1, 7, 11, 1000])
@pytest.mark.parametrize("queue", [0, 1])
@pytest.mark.parametrize("before", [b"", b"\r\n", GET, SIZED, CHUNKED, SIZED + GET])
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_line_is_found_behind_anything(
    odd: bytes, before: bytes, queue: int, size: int
) -> None:
    """At the read that completes its head."""
    assert any(reads(before + odd, size, queue))


def test_a_header_may_end_like_a_request_line() -> None:
    """Only the first line is looked at."""
    assert reads(GET[:-2] + b"X: y  HTTP/1.1\r\nZ: a RTSP/1.0\r\n\r\n", 1000) == [False]
