"""One request's body while it comes: its size, its framing, and when more of it is due."""

from __future__ import annotations

import asyncio

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpProcessingError, HttpRequestParser

from paceline.proxy.http import checks
from paceline.proxy.http.errors import ApiError
from paceline.proxy.http.framing import BadFraming, Chunked
from paceline.proxy.http.request import Request

MAX_FRAMING = 16
"""Bytes that may come for each byte of a body, sizes and extensions of chunks included: a chunk of
one byte takes 6; more is an extension that nobody reads, or an attack."""
OPENING = b"POST / HTTP/1.1\r\nHost: p\r\nTransfer-Encoding: chunked\r\n\r\n"
"""A head for the parser that gets a body in chunks: it begins with one."""


class Upload:
    """A body of a length that its head announced."""

    def __init__(self, request: Request, limits: checks.Limits, now: float) -> None:
        """The head was read at `now` (seconds on the loop's clock)."""
        self.request = request
        self.size = 0
        """Bytes that came of it."""
        self.complete = False
        """Whether all of it is there."""
        self._pieces: list[bytes] = []
        self._limits = limits
        self._began = now

    def feed(self, data: bytes) -> bytes:
        """More came; returns what stands behind its end. Raises ApiError."""
        left = self.request.length - self.size
        self._take(data[:left])
        self.complete = len(data) >= left
        return data[left:]

    def due(self, now: float) -> float:
        """When more must have come: soon, and in all as much as the slowest upload would have."""
        slowest = self._began + self.size / self._limits.body_rate
        return min(now, slowest) + self._limits.body_seconds

    def body(self) -> bytes:
        """What came."""
        return b"".join(self._pieces)

    def _take(self, piece: bytes) -> None:
        self.size += len(piece)
        self._pieces.append(piece)


class ChunkedUpload(Upload):
    """A body in chunks: aiohttp's strict parser takes it apart, and another reader has to agree
    where it ends."""

    def __init__(
        self, request: Request, limits: checks.Limits, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(request, limits, loop.time())
        self._parser = HttpRequestParser(
            _Steady(loop),
            loop,
            limits.body,
            max_line_size=limits.head,
            max_field_size=limits.head,
            auto_decompress=False,
        )
        ((_, self._reader),) = self._parser.feed_data(OPENING)[0]
        self._chunks = Chunked()
        self._raw = 0  # bytes that came, framing included

    def feed(self, data: bytes) -> bytes:
        try:
            self._chunks.feed(data)
            self.complete = self._chunks.complete
            end = self._chunks.end if self.complete else len(data)
            self._parser.feed_data(data[:end])
        except (BadFraming, HttpProcessingError):
            raise _malformed() from None
        if self._reader.is_eof() is not self.complete:
            raise _malformed()
        self._take(self._reader.read_nowait())
        self._raw += end
        checks.take_in(self.request, self.size, self._limits)
        if self._raw > self._limits.head + MAX_FRAMING * self.size:
            message = "The chunks' framing is too large."
            raise ApiError(400, message, reason="bad_request")
        return data[end:]


class _Steady(BaseProtocol):
    """What aiohttp's reader of a body would slow down; it is emptied after every read instead."""

    def pause_reading(self) -> None: ...

    def resume_reading(self, resume_parser: bool = True) -> None: ...


def _malformed() -> ApiError:
    return ApiError(400, "The request's body is malformed.", reason="bad_request")
