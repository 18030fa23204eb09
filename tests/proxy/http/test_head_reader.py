"""Heads are found however they are cut, and none is taken that two could read differently."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.base_protocol import BaseProtocol

from paceline.proxy.http.errors import ApiError
from paceline.proxy.http.head import Head
from paceline.proxy.http.head_reader import HeadReader

GET = b"GET /y HTTP/1.1\r\nHost: p\r\n\r\n"
ODD = [
    GET.replace(b" HTTP", b"  HTTP"),
    GET.replace(b"GET ", b"GET  "),
    GET.replace(b"HTTP/1.1", b"RTSP/1.0"),
]
"""The parser takes all of them."""
SIZES = pytest.mark.parametrize("size", [1, 7, 11, 1000])


def read(data: bytes, size: int, longest: int = 2**10) -> list[tuple[Head, int]]:
    """The heads in `data`, which comes in reads of `size` bytes, and their bodies' lengths."""
    loop = asyncio.new_event_loop()
    reader = HeadReader(BaseProtocol(loop), loop, longest)
    loop.close()
    found = []
    for at in range(0, len(data), size):
        piece = data[at : at + size]
        while piece and (one := reader.read(piece)) is not None:
            head, length, piece = one
            found.append((head, length))
    return found


def heads(data: bytes, size: int, longest: int = 2**10) -> list[str]:
    """Their targets."""
    return [head.raw_path for head, _ in read(data, size, longest)]


@SIZES
def test_one_head_after_the_other(size: int) -> None:
    """What comes behind one is left for whoever reads on."""
    assert heads(GET + b"\r\n" + GET.replace(b"/y", b"/z") + GET, size) == ["/y", "/z", "/y"]


@SIZES
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_line_is_refused(odd: bytes, size: int) -> None:
    """At the read that completes its head."""
    with pytest.raises(ApiError, match="line is malformed"):
        heads(GET + odd, size)
    assert heads(GET + odd[:-1], size) == ["/y"]


def test_a_header_may_end_like_a_request_line() -> None:
    """Only the first line is looked at."""
    assert heads(GET[:-2] + b"X: y  HTTP/1.1\r\nZ: a RTSP/1.0\r\n\r\n", 1000) == ["/y"]


@SIZES
def test_garbage_is_refused_before_a_head_ends(size: int) -> None:
    """The parser has every byte as soon as it comes."""
    with pytest.raises(ApiError, match=r"method|HTTPS"):
        heads(b"\x16\x03\x01\x02\x00", size)


@SIZES
@pytest.mark.parametrize("data", [b"\n" * 101, GET[:-2] + b"X: y\r\n" * 20])
def test_a_head_that_does_not_end_is_refused(data: bytes, size: int) -> None:
    """Not only once its time is over."""
    with pytest.raises(ApiError) as refused:
        heads(data, size, longest=100)
    assert refused.value.status == 431


def test_two_empty_lines_are_no_head() -> None:
    """The parser skips them; a reader that does not would find two requests."""
    with pytest.raises(ApiError, match="line is malformed"):
        heads(b"\r\n\r\n" + GET, 1000)


def test_an_offer_of_another_protocol_is_no_end() -> None:
    """A client that would rather speak h2c goes on as it began."""
    offer = GET[:-2] + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    assert heads(offer + GET, 1000) == ["/y", "/y"]


POST = b"POST /x HTTP/1.1\r\nHost: p\r\nContent-Length: %b\r\nX: y\r\n\r\n"


def test_a_head_that_comes_again_is_not_read_again() -> None:
    """Whatever the length of its body."""
    found = read(b"".join(POST % length for length in (b"5", b"5", b"1234", b"0", b"007")), 1000)
    assert [length for _, length in found] == [5, 5, 1234, 0, 7]
    assert len({id(head) for head, _ in found}) == 1


OTHERS = [
    *(
        POST % length
        for length in (b"", b"x", b"+5", b"5_0", b"5 ", b"5, 5", b"1" * 21, b"0" * 5000)
    ),
    *(POST % length for length in (b"5\r\nContent-Length: 5", b"5\r\nTransfer-Encoding: chunked")),
    (POST % b"5").replace(b"POST", b"PUT"),
    (POST % b"5").replace(b"/x", b"/z"),
    (POST % b"5").replace(b"X: y", b"X: z"),
    (POST % b"5").replace(b"X: y\r\n", b""),
    (POST % b"5").replace(b"POST /x ", b"POST  /x "),
    (POST % b"5").replace(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    (POST % b"5").replace(b"\r\n\r\n", b"\r\n y\r\n\r\n"),
    GET,
]


@pytest.mark.parametrize("data", OTHERS)
@pytest.mark.parametrize("size", [1, 30, 9999])
def test_what_came_before_changes_nothing(data: bytes, size: int) -> None:
    """A head that is almost the one before it is read, or refused, as if it were the first."""

    def made(data: bytes) -> list[object]:
        try:
            found = read(data, size, longest=2**13)
        except ApiError as error:
            return [error.status]
        return [(head.method, head.raw_path, head.kept, head.noted, n) for head, n in found]

    assert made(POST % b"5" + data)[-1] == made(data)[-1]
