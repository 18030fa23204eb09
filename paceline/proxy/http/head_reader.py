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
    RawRequestMessage,
)

from paceline.proxy.http.errors import ApiError

VERSIONS = frozenset((HttpVersion10, HttpVersion11))
"""aiohttp's parser lets some others through."""
_STRICT = re.compile(rb"[\r\n]*[^\s]+ [^\s]+ HTTP/1\.[01]\r\n")
"""RFC 9112 section 3, behind the empty lines of section 2.2. llhttp skips any number of blanks, and
takes RTSP for HTTP."""


class HeadReader:
    """Reads one connection's heads; what stands between them, the bodies, must not come here."""

    __slots__ = ("_begun", "_longest", "_parser")

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

    def read(self, data: bytes) -> tuple[RawRequestMessage, bytes] | None:
        """The head that ends in `data`, and what came behind it; None if it goes on.

        The parser has every byte of a head when it comes, and none behind its end: whatever it
        made of that, there is one head. Raises ApiError.
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
            self._begun = window
            return None
        if end < 4 or len(messages) != 1:
            raise _odd_request_line()
        message = messages[0][0]
        if _STRICT.match(window, 0, end) is None and message.version in VERSIONS:
            raise _odd_request_line()
        self._begun = b""
        return message, behind


def _odd_request_line() -> ApiError:
    """The answer to a request line that others read differently, or not at all."""
    return ApiError(400, "The request line is malformed.", reason="bad_request")
