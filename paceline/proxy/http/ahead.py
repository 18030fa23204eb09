"""What a client sent ahead of its turn (pipelining): bytes to read later, counted as memory."""

from __future__ import annotations

from paceline.proxy.http.memory import Hold, Memory

MAX_AHEAD = 1 << 18
"""Bytes read ahead of their turn, as many as uvloop reads at once; then the client has to wait."""


class Ahead:
    """What came behind the request that is being answered."""

    __slots__ = ("_hold", "_memory", "data")

    def __init__(self, memory: Memory | None) -> None:
        """`memory` is None where it has no limit."""
        self._memory = memory
        self._hold: Hold | None = None
        self.data = b""

    @property
    def full(self) -> bool:
        """Whether reading has to stop."""
        return len(self.data) >= MAX_AHEAD

    def add(self, data: bytes) -> None:
        """This came; raises ApiError with 503."""
        if self._memory is not None:
            if self._hold is None:
                self._hold = self._memory.hold(len(data))
            else:
                self._hold.grow(len(self.data) + len(data))
        self.data += data

    def take(self) -> bytes:
        """All of it: its turn has come, or never will."""
        data, self.data, self._hold = self.data, b"", None
        return data
