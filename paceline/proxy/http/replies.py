"""Reads an engine's reply head, strictly, and tells how its body is framed."""

from __future__ import annotations

import httptools

from paceline.proxy.http.framing import Chunked, Framing, Length, UntilClose

MAX_HEAD = 64 * 1024
"""Bytes in a reply's head; engines send a few hundred."""


class BadReply(Exception):
    """What came is not an HTTP/1 reply that may be passed on."""


class ReplyHead:
    """The head of one reply, as httptools tells of it."""

    __slots__ = ("complete", "headers", "keep_alive", "noted", "reason", "status")

    status: int
    keep_alive: bool
    """Whether the engine keeps the connection open after this reply."""

    def __init__(self) -> None:
        self.reason = b""
        self.headers: list[tuple[bytes, bytes]] = []
        """As they came: order, case and duplicates kept."""
        self.noted: dict[bytes, list[bytes]] = {}
        """Their values by name in lower case."""
        self.complete = False
        """Whether its end came."""

    def on_status(self, status: bytes) -> None:
        """Called with the reason."""
        self.reason = status

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called for each header."""
        self.headers.append((name, value))
        self.noted.setdefault(name.lower(), []).append(value)

    def on_headers_complete(self) -> None:
        """Called at the end."""
        self.complete = True

    @property
    def is_sse(self) -> bool:
        """Whether the body is a stream of server-sent events."""
        types = self.noted.get(b"content-type", ())
        return any(value.lower().startswith(b"text/event-stream") for value in types)


def split_head(data: bytes) -> tuple[ReplyHead | None, bytes]:
    """The final reply's head and the bytes behind it; None while it is not whole.

    Interim replies (1xx) are skipped: nobody asked the engine for them. Raises BadReply.
    """
    while True:
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            _check_beginning(data)
            return None, data
        head = parse_head(data[:end])
        data = data[end:]
        if head.status >= 200:
            return head, data
        if head.status == 101:
            raise BadReply("the engine switched protocols")


def _check_beginning(data: bytes) -> None:
    if not b"HTTP/1.".startswith(data[:7]):
        raise BadReply("not an HTTP/1 reply")
    if len(data) > MAX_HEAD:
        raise BadReply("the reply's head is too large")


def parse_head(data: bytes) -> ReplyHead:
    """The head in `data`, which ends with its empty line; raises BadReply."""
    head = ReplyHead()
    parser = httptools.HttpResponseParser(head)
    try:
        parser.feed_data(data)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
        raise BadReply(f"malformed reply: {error}") from None
    if not head.complete or len(data) > MAX_HEAD:
        raise BadReply("malformed reply")
    head.status = parser.get_status_code()
    head.keep_alive = parser.should_keep_alive()
    return head


def framing_of(head: ReplyHead, method: str) -> Framing:
    """How the body behind `head` ends (RFC 9112 section 6.3); raises BadReply."""
    if method == "HEAD" or head.status in (204, 304):
        return Length(0)
    noted = head.noted
    if b"transfer-encoding" in noted:
        if [coding.lower() for coding in noted[b"transfer-encoding"]] != [b"chunked"]:
            raise BadReply("a transfer coding that was not asked for")
        return Chunked()
    if b"content-length" in noted:
        return Length(int(noted[b"content-length"][0]))  # httptools checked: digits, and only one
    return UntilClose()
