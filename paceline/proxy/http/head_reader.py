"""Finds the heads in what a client sends, and has aiohttp's strict parser read them."""

from __future__ import annotations

import asyncio
import re

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import (
    HttpProcessingError,
    HttpRequestParser,
    HttpVersion10,
    HttpVersion11,
)

from paceline.proxy.http.errors import ApiError
from paceline.proxy.http.head import Head

VERSIONS = frozenset((HttpVersion10, HttpVersion11))
"""aiohttp's parser lets some others through."""
LENGTH = b"\r\ncontent-length: "
MAX_DIGITS = 15
"""Of a body's length, for a head that is not read again: enough for any that is accepted."""
_STRICT = re.compile(rb"[\r\n]*[^\s]+ [^\s]+ HTTP/1\.[01]\r\n")
"""RFC 9112 section 3, behind the empty lines of section 2.2. llhttp skips any number of blanks, and
takes RTSP for HTTP."""


class HeadReader:
    """Reads one connection's heads; what stands between them, the bodies, must not come here."""

    __slots__ = ("_after", "_before", "_begun", "_head", "_longest", "_parser", "_start", "_tail")

    def __init__(
        self, protocol: BaseProtocol, loop: asyncio.AbstractEventLoop, longest: int
    ) -> None:
        """`longest`: bytes of a head."""
        self._parser = HttpRequestParser(
            protocol,
            loop,
            longest,
            max_line_size=longest,
            max_field_size=longest,
            response_with_body=False,  # a head is all that it gets
        )
        self._longest = longest
        self._begun = b""
        """What came of a head that is not whole."""
        self._head: Head | None = None
        """The one before, if its body had a length, and if no other has begun."""
        self._before = self._after = b""
        """What stood before the digits of that length, and behind them;"""
        self._start = self._tail = 0
        """how many bytes that is."""

    def read(self, data: bytes) -> tuple[Head, int, bytes] | None:
        """The head that ends in `data`, the length of the body, and what came behind the head; None
        if it goes on. Raises ApiError.

        Clients send the same head again and again but for the body's length, which is why HTTP/2
        sends numbers for known lines: what was read once need not be read again.
        """
        head = self._head
        end = data.find(b"\r\n\r\n") + 4
        stop = end - self._tail
        digits = data[self._start : stop]
        if (
            head is not None
            and digits.isdigit()
            and len(digits) <= MAX_DIGITS
            and data.startswith(self._before)
            and data.startswith(self._after, stop)
        ):
            return head, int(digits), data[end:]
        return self._read(data)

    def _read(self, data: bytes) -> tuple[Head, int, bytes] | None:
        """Any other head.

        The parser has every byte of a head when it comes, and none behind its end: whatever it
        made of that, there is one head.
        """
        window = self._begun + data if self._begun else data
        end = window.find(b"\r\n\r\n") + 4
        behind = window[end:] if end >= 4 else b""
        try:
            messages, _, _ = self._parser.feed_data(data[: len(data) - len(behind)])
        except HttpProcessingError as error:
            raise ApiError(400, error.message, reason="bad_request") from None
        if len(window) - len(behind) > self._longest:
            raise ApiError(431, "The request's head is too large.", reason="head_too_large")
        if end < 4 and not messages:
            self._begun, self._head = window, None
            return None
        if end < 4 or len(messages) != 1:
            raise _odd_request_line()
        message = messages[0][0]
        if _STRICT.match(window, 0, end) is None and message.version in VERSIONS:
            raise _odd_request_line()
        self._begun = b""
        head = Head(message)
        self._remember(head, window[:end])
        return head, head.length, behind

    def _remember(self, head: Head, raw: bytes) -> None:
        """Know it when it comes again. The parser saw to it that there is one length at most."""
        self._head = None
        at = raw.lower().find(LENGTH)
        if at >= 0:
            at += len(LENGTH)
            end = raw.index(b"\r\n", at)
            if raw[at:end].isdigit():
                self._head, self._before, self._after = head, raw[:at], raw[end:]
                self._start, self._tail = at, len(raw) - end


def _odd_request_line() -> ApiError:
    """The answer to a request line that others read differently, or not at all."""
    return ApiError(400, "The request line is malformed.", reason="bad_request")
