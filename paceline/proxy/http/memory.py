"""One budget of bytes for all request bodies that the proxy holds."""

from __future__ import annotations

from collections.abc import Callable

from paceline.proxy.http.errors import ApiError


class Memory:
    """How much is held, and how much may be."""

    def __init__(self, limit: int, retry_after: Callable[[], float]) -> None:
        """`retry_after` tells in seconds when coming back makes sense."""
        self.limit = limit
        self.held = 0
        """Both in bytes."""
        self._retry_after = retry_after

    def hold(self, size: int) -> Hold:
        """Room for a body of this size, before it is read; raises ApiError with 503."""
        self.take(size)
        return Hold(self, size)

    def take(self, size: int) -> None:
        """Count so many bytes more; raises ApiError with 503."""
        held = self.held + size
        if held > self.limit:
            message = "The proxy holds as many requests as its memory allows; try again later."
            raise ApiError(503, message, reason="memory", retry_after=self._retry_after())
        self.held = held


class Hold:
    """One body's room. It is given back when the request is freed, on whatever path that happens:
    then, and not before, the memory is free."""

    __slots__ = ("_memory", "_size")

    def __init__(self, memory: Memory, size: int) -> None:
        """`size` bytes are taken already."""
        self._memory = memory
        self._size = size

    def grow(self, size: int) -> None:
        """The body has so many bytes by now; raises ApiError."""
        if size > self._size:
            self._memory.take(size - self._size)
            self._size = size

    def __del__(self) -> None:
        self._memory.held -= self._size
