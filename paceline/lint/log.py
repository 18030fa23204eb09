"""Reads a log of OpenAI-style requests with their bodies: `{"body": {...}}`, one a line.

The rows are those of `paceline.sim.request_log`; what only the simulator needs, times and lengths
of answers, may be missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, structs

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
    row: Body = {}
    """What else the row says, such as when the request came and how long the answer was."""


_decoder = msgspec.json.Decoder(Body)


def read_log(path: Path, *, skip_bad: bool = False) -> tuple[list[Entry], int]:
    """Every request and how many rows were left out; LintError for a bad row or file."""
    rows = Rows(path, skip_bad=skip_bad)
    try:
        entries = [
            structs.replace(entry, line=number + rows.skipped)
            for number, entry in enumerate(rows.read(_parse), 1)
        ]
    except TraceError as error:
        raise LintError(str(error)) from None
    return entries, rows.skipped


def _parse(data: bytes) -> Entry:
    row = _decoder.decode(data)
    body = row.pop("body", None)
    if not isinstance(body, dict):
        raise BadRow("has no body")
    encoded = msgspec.json.encode(body)
    try:
        parse(route(encoded), encoded)
    except BadRequest as error:
        raise BadRow(str(error)) from None
    return Entry(0, body, str(row.get("tenant") or body.get("user") or ""), row)


def write_log(path: Path, entries: Sequence[Entry]) -> None:
    """The entries as a log like the one that was read; LintError when it cannot be written."""
    lines = (msgspec.json.encode({**entry.row, "body": entry.body}) for entry in entries)
    try:
        path.write_bytes(b"\n".join(lines) + b"\n")
    except OSError as error:
        raise LintError(f"{path}: {error.strerror}") from None
