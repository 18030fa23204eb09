"""Azure's LLM inference traces: arrival times and lengths; of prompts they tell nothing."""

from __future__ import annotations

from datetime import datetime
from random import Random

from msgspec import Struct

from paceline.sim.rows import BadRow, Rows
from paceline.sim.workload import Turn, Workload, fresh, single

HEADER = b"TIMESTAMP,ContextTokens,GeneratedTokens"
MOST_TOKENS = 2**24
"""In a prompt or an answer: more than any model's context, and what memory holds."""


class _Line(Struct):
    time: datetime
    context: int
    generated: int


def azure(rows: Rows) -> Workload:
    """Requests by arrival, the first at 0; prompts are random ids; TraceError for a bad row."""
    start: datetime | None = None
    for number, line in enumerate(rows.read(_Parser().parse, header=True)):
        start = start or line.time
        turn = Turn(prompt=fresh(Random(number), line.context), output_tokens=line.generated)
        yield single(f"{number:07d}", turn, (line.time - start).total_seconds())


class _Parser:
    """Checks each row, and that time goes on."""

    def __init__(self) -> None:
        self._latest: datetime | None = None

    def parse(self, row: bytes) -> _Line:
        """One row; ValueError that says what is wrong."""
        fields = row.decode().strip().split(",")
        if len(fields) != 3:
            raise BadRow(f"has {len(fields)} fields instead of 3")
        line = _Line(_time(fields[0]), _count(fields[1]), _count(fields[2]))
        if self._latest is not None and line.time < self._latest:
            raise BadRow(f"{fields[0]} is before {self._latest}")
        self._latest = line.time
        return line


def _time(text: str) -> datetime:
    """`2023-11-16 18:15:46.6805900`: seven digits, of which Python keeps six."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise BadRow(f"`{text}` is no time") from None


def _count(text: str) -> int:
    if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= MOST_TOKENS:
        raise BadRow(f"`{text[:40]}` is not a number of tokens from 1 to {MOST_TOKENS}")
    return int(text)
