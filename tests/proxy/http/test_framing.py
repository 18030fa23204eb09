"""Body framing: where it ends, what is payload, and what is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.proxy.http.framing import LAST_CHUNK, BadFraming, Chunked, Length, chunk

payloads = st.lists(st.binary(min_size=1, max_size=40) | st.just(b"\r\n1\r\n"), max_size=6)


def fed(framing: Chunked | Length, pieces: list[bytes]) -> bytes:
    """The payload found in `pieces`, fed one after the other."""
    return b"".join(part for piece in pieces for part in framing.feed(piece))


@given(payloads, st.lists(st.integers(0, 300)), st.binary(max_size=5))
def test_chunks_are_read_however_they_are_cut(
    parts: list[bytes], cuts: list[int], behind: bytes
) -> None:
    """The payload and the end are the same for every division into reads."""
    wire = b"".join(map(chunk, parts)) + LAST_CHUNK + behind
    bounds = [0, *sorted(cut for cut in cuts if cut < len(wire) - len(behind)), len(wire)]
    pieces = [wire[a:b] for a, b in pairwise(bounds)]
    framing = Chunked()
    assert fed(framing, pieces) == b"".join(parts)
    assert framing.complete
    assert pieces[-1][framing.end :] == behind


@pytest.mark.parametrize(
    "wire",
    [
        b"0x1\r\na\r\n",
        b"+1\r\na\r\n",
        b"1_0\r\n",
        b"\r\n",
        b" 1\r\n",
        b"1\na\r\n",
        b"1\r\nab",
        b"g\r\n",
        b"1" * 16 + b"\r\n",
        b"1;" + b"x" * 5000,
        b"0\r\n" + b"x" * 5000,
    ],
)
def test_sloppy_chunks_are_refused(wire: bytes) -> None:
    """Only what RFC 9112 says is a chunk."""
    with pytest.raises(BadFraming):
        Chunked().feed(wire)


@pytest.mark.parametrize("size", [b"a", b"A", b"0a", b"A;ext=1"])
def test_a_size_reads_the_same_however_it_is_written(size: bytes) -> None:
    """Engines write plain lower case; nothing else may be taken for another size, or refused."""
    framing = Chunked()
    wire = size + b"\r\n0123456789\r\n"
    assert framing.feed(wire + wire + LAST_CHUNK) == [b"0123456789"] * 2
    assert framing.complete


def test_a_broken_chunk_leaves_the_boundary_where_the_client_is() -> None:
    """Nothing of a read that is refused was passed on."""
    framing = Chunked()
    framing.feed(b"5\r\nab")
    with pytest.raises(BadFraming):
        framing.feed(b"cde\r\nnonsense\r\n")
    assert not framing.at_boundary


def test_trailers_belong_to_the_body() -> None:
    """The end is behind the empty line, not behind the last chunk's size."""
    framing = Chunked()
    assert framing.feed(b"0\r\nX-Sum: 1\r\n\r\nrest") == []
    assert (framing.complete, framing.end) == (True, 15)


def test_boundary_is_between_chunks() -> None:
    """An event can be inserted there and nowhere else."""
    framing = Chunked()
    steps = [(b"", True), (b"2", False), (b"\r\na", False), (b"b", False), (b"\r\n", True)]
    for data, between in steps:
        framing.feed(data)
        assert framing.at_boundary is between


def test_length_counts() -> None:
    """The body ends where its length says."""
    framing = Length(3)
    assert framing.feed(b"ab") == [b"ab"]
    assert not framing.complete
    assert framing.feed(b"cd") == [b"c"]
    assert (framing.complete, framing.end) == (True, 1)


def test_nothing_is_complete_at_once() -> None:
    """A body of no bytes needs none."""
    assert Length(0).complete
