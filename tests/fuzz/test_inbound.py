"""A connection means the same however its bytes are cut, and what it means is never two things."""

from __future__ import annotations

import asyncio
import re
from itertools import pairwise
from typing import cast

from hypothesis import example, given, settings
from hypothesis import strategies as st

from paceline.proxy.http.checks import Limits
from paceline.proxy.http.request import Reply, Request
from paceline.proxy.http.server import Server
from tests.proxy.test_malformed import CHUNKS, MALFORMED, TOLERATED, chunks, with_headers

GOOD = b"GET /good HTTP/1.1\r\nHost: p\r\n\r\n"
SAMPLES = sorted([*MALFORMED.values(), *TOLERATED.values(), chunks(CHUNKS), GOOD], key=len)[:-12]
"""All but the largest."""
LIMITS = Limits(head=2**14, body=2**12)


class Wire(asyncio.Transport):
    """A client's connection that keeps what it is sent; its own socket, too."""

    family = 0

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = False

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self if name == "socket" else default

    def setsockopt(self, *_: int) -> None: ...

    def write(self, data: object) -> None:
        self.sent += cast(bytes, data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def play(pieces: list[bytes]) -> tuple[list[tuple[str, str, bytes]], list[bytes]]:
    """The requests that were understood, and the statuses of all answers."""
    seen: list[tuple[str, str, bytes]] = []

    async def answer(request: Request) -> Reply | None:
        seen.append((request.method, request.raw_path, request.body))
        return Reply(200, b"")

    server = Server(answer, lambda request, error: None, LIMITS, 0.0)
    connection, wire = server.connection(), Wire()
    connection.connection_made(wire)
    for piece in pieces:
        connection.data_received(piece)
        for _ in range(3):  # what was begun is answered
            await asyncio.sleep(0)
    for _ in range(3 * len(seen) + 30):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    return seen, re.findall(rb"^HTTP/1.1 (\d+)", wire.sent, re.M)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The pieces between these places."""
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


@st.composite
def connections(draw: st.DrawFn) -> bytes:
    """Samples one behind the other, some bytes of them lost, doubled or changed."""
    data = b"".join(draw(st.lists(st.sampled_from(SAMPLES), min_size=1, max_size=3)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        new = draw(st.sampled_from((b"", b"\r", b"\n", b"\0", b" ", b":", b"0", b"\xff", b"\r\n")))
        data = data[:at] + new + data[at + draw(st.integers(0, 2)) :]
    return data


@given(connections(), st.lists(st.integers(0, 2**16), max_size=6))
@example(chunks(CHUNKS) + GOOD, [])
@example(with_headers(b"Content-Length: 57\r\n") * 2, [70, 71, 72])
@settings(max_examples=150)
def test_cuts_change_nothing(data: bytes, places: list[int]) -> None:
    """In one piece or in many: the same requests with the same bodies, and the same refusal.

    aiohttp's parser forgets what stood before garbage in one piece: a refusal may come earlier.
    """
    whole, answers = asyncio.run(play([data]))
    parts, others = asyncio.run(play(cut(data, places)))
    understood = min(len(whole), len(parts))
    assert whole[:understood] == parts[:understood]
    assert answers[len(whole) :] == others[len(parts) :]
    assert len(whole) == len(parts) or len(answers) > len(whole)


@given(connections())
@settings(max_examples=150)
def test_a_refusal_is_the_end(data: bytes) -> None:
    """Nothing is understood behind what was refused, and nothing fails inside."""
    seen, statuses = asyncio.run(play([data]))
    assert b"500" not in statuses
    good = [status for status in statuses if status == b"200"]
    assert statuses[: len(good)] == good
    assert len(statuses) <= len(good) + 1
    assert len(seen) == len(good)
