"""One sequence in an engine model: a choice of a request, its tokens and how far it has come."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from paceline.engines.model.engine import SequenceRequest
from paceline.engines.model.tape import encode

UNLIMITED = 1 << 30
"""Stands for a missing `max_tokens`."""


class Sequence:
    """What both schedulers track of a sequence; they plan by `limit` and never read `length`."""

    __slots__ = (
        "cached",
        "done",
        "index",
        "length",
        "limit",
        "made",
        "priority",
        "prompt_tokens",
        "request_id",
        "tape",
    )

    def __init__(self, request: SequenceRequest, index: int, tape: bytes, room: int) -> None:
        self.request_id = request.id
        self.index = index
        self.tape = tape
        """Ids of the prompt and of the answer to come."""
        self.prompt_tokens = len(request.prompt)
        limit = UNLIMITED if request.max_tokens is None else request.max_tokens
        self.limit = min(limit, room)
        self.length = min(request.output_tokens, self.limit)
        """True output length."""
        self.priority = request.priority
        self.cached = -1
        """Prompt tokens found in the cache at the first admission; -1 before it."""
        self.made = 0
        """Output tokens that have come back from the GPU."""
        self.done = False

    @property
    def known(self) -> int:
        """Tokens that exist: the prompt and what has come back."""
        return self.prompt_tokens + self.made


class Tapes:
    """Makes the tapes of a request's choices; answers without ids get ids that nobody shares."""

    def __init__(self) -> None:
        self._unshared = count(1 << 31)

    def of(self, request: SequenceRequest) -> Iterator[bytes]:
        """One tape a choice; ValueError for an empty prompt or answer, or ids that don't fit."""
        if not request.prompt or request.output_tokens < 1 or request.n < 1:
            raise ValueError("prompt, output_tokens and n must not be empty")
        if request.output and len(request.output) != request.output_tokens:
            raise ValueError("output must have output_tokens ids")
        prompt = encode(request.prompt)
        for index in range(request.n):
            ids = request.output if request.output and not index else self._fresh(request)
            yield prompt + encode(ids)

    def _fresh(self, request: SequenceRequest) -> range:
        start = next(self._unshared)
        self._unshared = count(start + request.output_tokens)
        return range(start, start + request.output_tokens)
