"""A connection means the same however its bytes are cut, and what it means is never two things."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fuzz.wire import GOOD, play
from tests.proxy.test_malformed import CHUNKS, MALFORMED, TOLERATED, chunks, with_headers

SAMPLES = sorted([*MALFORMED.values(), *TOLERATED.values(), chunks(CHUNKS), GOOD], key=len)[:-12]
"""All but the largest."""


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
    """In one piece or in many: the same requests with the same bodies, and the same answers."""
    assert asyncio.run(play([data])) == asyncio.run(play(cut(data, places)))


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
