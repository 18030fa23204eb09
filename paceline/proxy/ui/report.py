"""The simulator's report of what was recorded: shown where `paceline sim` has written it."""

from __future__ import annotations

from pathlib import Path

from paceline.proxy.http.errors import ApiError, response
from paceline.proxy.http.request import Reply

LARGEST = 32 * 2**20
"""Bytes; reports of a day have some megabytes. A larger one is not read while requests wait."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""A report is style and drawings; nothing in it runs."""


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


def answer(recording: str | None) -> Reply:
    """The report, or 404."""
    if recording is not None and written_at(recording) is not None:
        try:
            body = Path(beside(recording)).read_bytes()
        except OSError:  # it has gone meanwhile
            body = b""
        if body:
            return Reply(200, body, "text/html; charset=utf-8", dict(HEADERS))
    error = ApiError(404, "There is no report beside the recording.", reason="not_found")
    return response(error, "/v1/", {})  # in OpenAI's words, as all of the proxy's own
