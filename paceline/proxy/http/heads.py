"""Builds the heads of replies to clients."""

from __future__ import annotations

from collections.abc import Iterable

from paceline.proxy.http.replies import ReplyHead
from paceline.proxy.http.request import HOP_BY_HOP, unlisted

Header = tuple[bytes, bytes]

REPLY_REPLACED = HOP_BY_HOP | {
    b"x-paceline-backend",
    b"x-paceline-cached-tokens",
    b"x-paceline-queue-ms",
    b"x-request-id",
}
"""Engine headers that are not passed on as they are."""


def reply_head(head: ReplyHead, ours: bytes, *, chunked: bool, close: bool) -> bytes:
    """The head for the client: the engine's, `ours` (whole lines) added, persistence our own."""
    lines = [b"HTTP/1.1 %d %b" % (head.status, head.reason), *_kept(head.headers, REPLY_REPLACED)]
    if chunked:
        lines.append(b"Transfer-Encoding: chunked")
    if close:
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n" + ours + b"\r\n"


def _kept(headers: Iterable[Header], replaced: frozenset[bytes]) -> list[bytes]:
    """The lines of all headers but those in `replaced` and those that Connection lists."""
    lines = []
    listed: set[bytes] = set()
    for name, value in headers:
        key = name.lower()
        if key not in replaced:
            lines.append(name + b": " + value)
        elif key == b"connection":
            listed.update(token.strip() for token in value.lower().split(b","))
    return unlisted(lines, listed)
