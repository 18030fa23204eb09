"""Builds the heads of replies to clients."""

from __future__ import annotations

from paceline.proxy.http.head import HOP_BY_HOP, unlisted
from paceline.proxy.http.replies import ReplyHead

REPLY_REPLACED = HOP_BY_HOP | {
    b"x-paceline-backend",
    b"x-paceline-cached-tokens",
    b"x-paceline-queue-ms",
    b"x-request-id",
}
"""Engine headers that are not passed on as they are."""


def reply_head(head: ReplyHead, ours: bytes, *, chunked: bool, close: bool) -> bytes:
    """The head for the client: the engine's, `ours` (whole lines) added, persistence our own."""
    plain = REPLY_REPLACED.isdisjoint(head.noted)
    headers = map(b": ".join, head.headers) if plain else _kept(head)
    lines = [b"HTTP/1.1 %d %b" % (head.status, head.reason), *headers]
    if chunked:
        lines.append(b"Transfer-Encoding: chunked")
    if close:
        lines.append(b"Connection: close")
    lines += (ours, b"")
    return b"\r\n".join(lines)


def _kept(head: ReplyHead) -> list[bytes]:
    """The lines of all headers but those that are replaced and those that Connection lists."""
    kept = [name + b": " + v for name, v in head.headers if name.lower() not in REPLY_REPLACED]
    if b"connection" not in head.noted:
        return kept
    options = b",".join(head.noted[b"connection"]).lower().split(b",")
    return unlisted(kept, {option.strip() for option in options})
