"""Reads a log of OpenAI-style requests with their bodies: `{"body": {...}}`, one a line.

The rows are those of `paceline.sim.request_log`; what only the simulator needs, times and lengths
of answers, may be missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from paceline.engines.api import BadRequest, parse
from paceline.lint.errors import LintError
from paceline.sim.request_log import route
from paceline.sim.rows import BadRow, Rows, TraceError

Body = dict[str, Any]


class Entry(Struct):
    """One request of the log."""

    line: int
    """Counted from 1, rows that were left out included."""
    body: Body
    tenant: str = ""
    """The row's, or the body's `user`."""


class _Line(Struct):
    body: Body
    tenant: str = ""


_decoder = msgspec.json.Decoder(_Line)


def read_log(path: Path, *, skip_bad: bool = False) -> tuple[list[Entry], int]:
    """Every request and how many rows were left out; LintError for a bad row or file."""
    rows = Rows(path, skip_bad=skip_bad)
    try:
        return list(_entries(rows)), rows.skipped
    except TraceError as error:
        raise LintError(str(error)) from None


def _entries(rows: Rows) -> Iterator[Entry]:
    for number, line in enumerate(rows.read(_parse), 1):
        tenant = line.tenant or str(line.body.get("user") or "")
        yield Entry(number + rows.skipped, line.body, tenant)


def _parse(row: bytes) -> _Line:
    line = _decoder.decode(row)
    body = msgspec.json.encode(line.body)
    try:
        parse(route(body), body)
    except BadRequest as error:
        raise BadRow(str(error)) from None
    return line


def write_log(path: Path, entries: Sequence[Entry]) -> None:
    """The entries as a log that `read_log` reads; LintError when it cannot be written."""
    lines = (msgspec.json.encode({"body": entry.body, "tenant": entry.tenant}) for entry in entries)
    try:
        path.write_bytes(b"\n".join(lines) + b"\n")
    except OSError as error:
        raise LintError(f"{path}: {error.strerror}") from None
