"""Finds request lines that aiohttp's parser reads as HTTP/1 and other readers do not."""

from __future__ import annotations

import re

from aiohttp.http import HttpVersion10, HttpVersion11, RawRequestMessage
from aiohttp.streams import StreamReader

from paceline.proxy.http.framing import BadFraming, Chunked

VERSIONS = frozenset((HttpVersion10, HttpVersion11))
"""aiohttp's parser lets some others through."""
_STRICT = re.compile(rb"[\r\n]*[^\s]+ [^\s]+ HTTP/1\.[01]\r\n")
"""RFC 9112 section 3, behind the empty lines of section 2.2. llhttp skips any number of blanks, and
takes RTSP for HTTP."""

Messages = list[tuple[RawRequestMessage, StreamReader]]


class RequestLines:
    """Follows what one connection sends; has to see every read, and what the parser made of it.

    The parser tells what it read and not where, so this walks from head to head.
    """

    __slots__ = ("_begun", "_body", "_chunks", "_taken")

    def __init__(self) -> None:
        self._begun = b""
        """What came of the next head, and what the parser has put off."""
        self._body: StreamReader | None = None
        """Of the message that began last."""
        self._taken = 0
        """The bytes of it that came."""
        self._chunks: Chunked | None = None
        """How far it goes, if it comes in chunks."""

    def misread(self, data: bytes, messages: Messages) -> bool:
        """Whether any of these has to be refused for its first line; about 2 us."""
        window = self._begun + data if self._begun else data
        try:
            at = self._skip_body(window, 0)
            for message, body in messages:
                end = window.find(b"\r\n\r\n", at) + 4
                odd = message.version in VERSIONS and _STRICT.match(window, at, end) is None
                if end < 4 or odd:
                    return True
                self._body, self._taken = body, 0
                self._chunks = Chunked() if message.chunked else None
                at = self._skip_body(window, end)
        except BadFraming:
            return self._body is not None and self._body.exception() is None
        self._begun = window[at:]
        return False

    def _skip_body(self, window: bytes, at: int) -> int:
        """Where the body that goes on at `at` ends, or the window; raises BadFraming."""
        if self._body is None:
            return at
        if self._chunks is None:
            taken, self._taken = self._taken, self._body.total_bytes
            return at + self._taken - taken
        if not self._chunks.complete:
            self._chunks.feed(window[at:])
            at += self._chunks.end
        return at
