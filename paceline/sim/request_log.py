"""Logs of OpenAI-style requests: `{"timestamp": seconds, "body": {...}}`, one a line.

Prompts are made into tokens of four bytes of their canonical text, so that equal beginnings stay
equal; about right for English. The answer's length is the row's `output_tokens`, or
`usage.completion_tokens`, or the body's limit; a row that has none of them is bad.
"""

from __future__ import annotations

from array import array

import msgspec
from msgspec import Raw, Struct

from paceline.engines.api import BadRequest, Call, parse
from paceline.engines.bodies import ABSENT, present
from paceline.sim.rows import BadRow, Rows
from paceline.sim.workload import TOKEN_BYTES, Session, Turn, Workload, single


class _Usage(Struct):
    completion_tokens: int | None = None


class _Shape(Struct):
    """What tells the routes apart."""

    messages: Raw = ABSENT
    prompt: Raw = ABSENT


class _Line(Struct):
    timestamp: float
    """Seconds; only differences count."""
    body: Raw
    output_tokens: int | None = None
    usage: _Usage | None = None
    tenant: str = ""


_decoder = msgspec.json.Decoder(_Line)
_shape = msgspec.json.Decoder(_Shape)


def request_log(rows: Rows) -> Workload:
    """Requests by arrival, the first at 0; TraceError where time runs backwards or a row is odd."""
    parser = _Parser()
    for number, session in enumerate(rows.read(parser.parse)):
        session.id = f"{number:07d}"
        yield session


class _Parser:
    """Checks each row, and that time goes on."""

    def __init__(self) -> None:
        self._start: float | None = None
        self._latest = 0.0

    def parse(self, row: bytes) -> Session:
        """One row; ValueError that says what is wrong."""
        line = _decoder.decode(row)
        body = bytes(line.body)
        try:
            call = parse(route(body), body)
        except BadRequest as error:
            raise BadRow(str(error)) from None
        turn = _turn(line, call)
        if self._start is None:
            self._start = self._latest = line.timestamp
        if not line.timestamp >= self._latest:
            raise BadRow(f"timestamp {line.timestamp:g} is before {self._latest:g}")
        self._latest = line.timestamp
        return single("", turn, line.timestamp - self._start)


def route(body: bytes) -> str:
    """The path that a body is meant for, by the fields that it has."""
    shape = _shape.decode(body)
    if present(shape.messages):
        return "/v1/chat/completions"
    return "/v1/completions" if present(shape.prompt) else "/generate"


def _turn(line: _Line, call: Call) -> Turn:
    made = line.output_tokens
    if made is None and line.usage is not None:
        made = line.usage.completion_tokens
    if made is None:
        made = call.max_tokens
    if made is None or made < 1:
        raise BadRow("tells no length of the answer: output_tokens, usage or max_tokens")
    return Turn(
        prompt=_tokens(call),
        output_tokens=made,
        max_tokens=call.max_tokens,
        n=call.n,
        tenant=line.tenant,
    )


def _tokens(call: Call) -> array[int]:
    data = call.variant + call.prompt.data
    return array("I", data.ljust(-(-len(data) // TOKEN_BYTES) * TOKEN_BYTES, b"\0"))
