"""Where a reply's body ends, and which of its bytes are payload (RFC 9112 section 6)."""

from __future__ import annotations

import re

MAX_SIZE_LINE = 4096
"""Bytes in a chunk's size line with its extensions, or in a trailer line; engines send neither."""
SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[^\r\n\x00]*)?")
"""Hex digits alone: Python's `int` would take `0x`, signs, spaces and underscores as well."""


class BadFraming(Exception):
    """The body is not framed as its head said."""


class Length:
    """A body of a known number of bytes; nothing at all when that is 0."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.complete = length == 0
        self.end = 0
        """Once complete: offset just behind the body in the data fed last."""

    at_boundary = False
    """Whether something could be inserted here without breaking the framing."""

    def feed(self, data: bytes) -> list[bytes]:
        """The payload in `data`."""
        if len(data) < self._left:
            self._left -= len(data)
            return [data] if data else []
        self.complete, self.end, self._left = True, self._left, 0
        return [data if self.end == len(data) else data[: self.end]] if self.end else []


class UntilClose:
    """A body that ends with its connection."""

    complete = False
    at_boundary = True
    end = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The payload in `data`: all of it."""
        return [data] if data else []


class Chunked:
    """A body in chunks: follows the size lines without copying more than the payload slices."""

    def __init__(self) -> None:
        self._left = 0  # payload bytes still to come in this chunk
        self._line = b""  # a size or trailer line, or the CRLF behind a payload, not yet whole
        self._expect = self._size
        self.complete = False
        self.end = 0

    @property
    def at_boundary(self) -> bool:
        """Whether the last chunk is whole and the next has not begun."""
        return self._expect == self._size and not self._line

    def feed(self, data: bytes) -> list[bytes]:
        """The payload in `data`; raises BadFraming."""
        pieces: list[bytes] = []
        at, size = 0, len(data)
        while at < size and not self.complete:
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                self._left -= len(piece)
                at += len(piece)
            else:
                at = self._take_line(data, at)
        self.end = at
        return pieces

    def _take_line(self, data: bytes, at: int) -> int:
        """Handle the line that begins or goes on at `at`; returns where it ends."""
        newline = data.find(b"\n", at)
        if newline < 0:
            self._line += data[at:]
            self._check_length(self._line)
            return len(data)
        line = self._line + data[at : newline + 1] if self._line else data[at : newline + 1]
        self._check_length(line)
        if line[-2:] != b"\r\n":
            raise BadFraming("bare line feed in the chunk framing")
        self._line = b""
        self._expect(line[:-2])
        return newline + 1

    def _check_length(self, line: bytes) -> None:
        if len(line) > MAX_SIZE_LINE or (self._expect == self._gap and line not in b"\r\n"):
            raise BadFraming("chunk longer than its size line said")

    def _size(self, line: bytes) -> None:
        match = SIZE_LINE.fullmatch(line)
        if match is None:
            raise BadFraming("malformed chunk size")
        self._left = int(match[1], 16)
        self._expect = self._gap if self._left else self._trailer

    def _gap(self, line: bytes) -> None:
        self._expect = self._size

    def _trailer(self, line: bytes) -> None:
        self.complete = not line


Framing = Length | UntilClose | Chunked


def chunk(payload: bytes) -> bytes:
    """One chunk."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


LAST_CHUNK = b"0\r\n\r\n"
