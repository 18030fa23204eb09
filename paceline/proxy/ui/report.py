"""The simulator's report of what was recorded: shown where `paceline sim` has written it."""

from __future__ import annotations

from pathlib import Path

LARGEST = 32 * 2**20
"""Bytes; reports of a day have some megabytes. A larger one is not read while requests wait."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
"""Its Content-Security-Policy: a report is style and drawings; nothing in it runs."""


def beside(recording: str) -> str:
    """Where the report of this recording is looked for."""
    return f"{recording}.html"


def written_at(recording: str | None) -> float | None:
    """Unix seconds when the report was written; None when there is none to show."""
    if recording is None:
        return None
    try:
        status = Path(beside(recording)).stat()
    except OSError:
        return None
    return status.st_mtime if status.st_size <= LARGEST else None


def read(recording: str | None) -> bytes:
    """The report; empty when there is none to show."""
    if recording is None or written_at(recording) is None:
        return b""
    try:
        return Path(beside(recording)).read_bytes()
    except OSError:  # it has gone meanwhile
        return b""
