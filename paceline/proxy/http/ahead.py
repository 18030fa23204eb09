"""Requests that one client sent ahead of their turn (pipelining): few, and counted as memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader

from paceline.proxy.http import checks
from paceline.proxy.http.memory import Hold, Memory

MAX_PIPELINED = 8
"""Requests read ahead of their turn; then the client has to wait."""

Message = tuple[RawRequestMessage, StreamReader]
"""A head, and the body that comes behind it."""


class Ahead:
    """The queue of one connection, in the order in which they came; false if empty."""

    __slots__ = ("_hold", "_memory", "_messages")

    def __init__(self, memory: Memory | None) -> None:
        """`memory` is None where it has no limit."""
        self._memory = memory
        self._hold: Hold | None = None
        self._messages: deque[Message] = deque()

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def full(self) -> bool:
        """Whether reading has to stop: the one that is being answered counts too."""
        return len(self._messages) >= MAX_PIPELINED - 1

    def add(self, messages: Iterable[Message]) -> None:
        """These came; `count` them once it is clear that they have to wait."""
        self._messages.extend(messages)

    def pop(self) -> Message:
        """The one whose turn it is; what it takes of the memory is given back."""
        message = self._messages.popleft()
        if self._hold is not None:
            self.count()
        return message

    def clear(self) -> None:
        """None of them will be answered."""
        self._messages.clear()
        self._hold = None

    def count(self) -> None:
        """Take memory for what came of them so far; raises ApiError with 503."""
        if not self._messages:
            self._hold = None
        elif self._memory is not None:
            if self._hold is None:
                self._hold = self._memory.hold(0)
            self._hold.resize(
                sum(checks.head_size(head) + body.total_bytes for head, body in self._messages)
            )
