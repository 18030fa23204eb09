"""Mooncake traces: prompts as lists of block ids, absolute or as the delta to the turn before.

`timestamp` and pauses (`delay`, `delay_ms`) are milliseconds; equal ids mean an equal prefix up to
and including that block; the last block may be partial. Rows with a `session_id` and a pause follow
the row before them: with `delay_ms` their ids are the whole prompt, with `delay` only what is added
after the last answer. The clients' limits are not told: policies get none, and so not the lengths.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from random import Random
from sys import byteorder

import msgspec
from msgspec import Struct

from paceline.sim.rows import BadRow, Rows
from paceline.sim.workload import TOKEN_BYTES, Session, Turn, Workload, fresh

BLOCK_TOKENS = 512
"""Of the published traces."""


class Line(Struct):
    """One row as it stands."""

    input_length: int
    output_length: int
    hash_ids: list[int]
    timestamp: float | None = None
    session_id: str | None = None
    delay: float | None = None
    delay_ms: float | None = None
    block_size: int | None = None

    @property
    def follows(self) -> bool:
        """Whether it is a later turn of its session."""
        return self.delay is not None or self.delay_ms is not None

    @property
    def pause(self) -> float:
        """Seconds after the turn before."""
        return (self.delay_ms if self.delay_ms is not None else self.delay or 0.0) / 1e3


_decoder = msgspec.json.Decoder(Line)


def mooncake(rows: Rows, block_tokens: int) -> Workload:
    """Sessions by their first timestamp; TraceError where time runs backwards or a row is odd."""
    turns: list[Line] = []
    number = 0
    for line in rows.read(_Parser(block_tokens).parse):
        if turns and not line.follows:
            yield _session(turns, number, block_tokens)
            number += 1
            turns = []
        turns.append(line)
    if turns:
        yield _session(turns, number, block_tokens)


def _session(lines: list[Line], number: int, block_tokens: int) -> Session:
    id = lines[0].session_id or f"{number:07d}"
    at = (lines[0].timestamp or 0.0) / 1e3
    return Session(id, _turns(lines, id, block_tokens), at)


def _turns(lines: list[Line], id: str, block_tokens: int) -> Iterator[Turn]:
    context = array("I")
    rng = Random(id)
    for number, line in enumerate(lines):
        added = tokens(line.hash_ids, line.input_length, line.block_size or block_tokens)
        prompt = context + added if line.delay is not None else added
        turn = Turn(
            prompt=prompt,
            output_tokens=line.output_length,
            pause=line.pause,
            family=id if len(lines) > 1 else str(line.hash_ids[0]),
        )
        if number + 1 < len(lines) and lines[number + 1].delay is not None:
            turn.output = fresh(rng, line.output_length)
            context = prompt + turn.output
        yield turn


def tokens(hash_ids: list[int], length: int, block_tokens: int) -> array[int]:
    """A prompt of `length` tokens: every token of a block is the block's id."""
    # As the machine lays out ids in an array.
    blocks = [id.to_bytes(TOKEN_BYTES, byteorder) * block_tokens for id in hash_ids]
    return array("I", b"".join(blocks)[: length * TOKEN_BYTES])


class _Parser:
    """Checks every row against itself and the ones before it."""

    def __init__(self, block_tokens: int) -> None:
        self._block_tokens = block_tokens
        self._latest = 0.0
        self._session: str | None = None

    def parse(self, row: bytes) -> Line:
        """One row; ValueError that says what is wrong."""
        line = _decoder.decode(row)
        self._check_lengths(line)
        if line.follows:
            if line.session_id is None or line.session_id != self._session:
                raise BadRow("has a delay, but does not follow a row of its session")
            return line
        if line.timestamp is None:
            raise BadRow("has neither `timestamp` nor `delay`")
        if not line.timestamp >= self._latest:
            raise BadRow(f"timestamp {line.timestamp:g} is before {self._latest:g}")
        self._latest = line.timestamp
        self._session = line.session_id
        return line

    def _check_lengths(self, line: Line) -> None:
        if line.input_length < 1 or line.output_length < 1:
            raise BadRow("input_length and output_length must be at least 1")
        size = line.block_size or self._block_tokens
        if len(line.hash_ids) * size < line.input_length:
            raise BadRow(
                f"{len(line.hash_ids)} blocks of {size} tokens do not hold "
                f"{line.input_length} (see --trace-block-size)"
            )
        if not all(0 <= id < 1 << 32 for id in line.hash_ids):
            raise BadRow("hash_ids must be below 2**32")
