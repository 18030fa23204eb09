"""One request's body while it comes: its size, its framing, and when more of it is due."""

from __future__ import annotations

from aiohttp.streams import StreamReader

from paceline.proxy.http import checks
from paceline.proxy.http.errors import ApiError
from paceline.proxy.http.request import Request

MAX_FRAMING = 16
"""Bytes that may come for each byte of a body, sizes and extensions of chunks included: a chunk of
one byte takes 6; more is an extension that nobody reads, or an attack."""


class Upload:
    """A body that aiohttp's parser takes apart."""

    __slots__ = ("_began", "_limits", "_reader", "raw", "request")

    def __init__(
        self, request: Request, reader: StreamReader, limits: checks.Limits, now: float
    ) -> None:
        """The head was read at `now` (seconds on the loop's clock)."""
        self.request = request
        self.raw = 0
        """Bytes that came behind the head, framing included."""
        self._reader = reader
        self._limits = limits
        self._began = now

    @property
    def complete(self) -> bool:
        """Whether all of it is there."""
        return self._reader.is_eof()

    def check(self) -> None:
        """Look at what came so far; raises ApiError."""
        if self._reader.exception() is not None:
            message = "The request's body is malformed."
            raise ApiError(400, message, reason="bad_request")
        if b"transfer-encoding" in self.request.noted:  # any other length came with the head
            self._check_chunks(self._reader.total_bytes)

    def _check_chunks(self, size: int) -> None:
        checks.take_in(self.request, size, self._limits)
        if self.raw > self._limits.head + MAX_FRAMING * size:
            message = "The chunks' framing is too large."
            raise ApiError(400, message, reason="bad_request")

    def due(self, now: float) -> float:
        """When more must have come: soon, and in all as much as the slowest upload would have."""
        slowest = self._began + self._reader.total_bytes / self._limits.body_rate
        return min(now, slowest) + self._limits.body_seconds

    def body(self) -> bytes:
        """What came."""
        return self._reader.read_nowait()
