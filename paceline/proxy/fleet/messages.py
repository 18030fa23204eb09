"""What the proxies of a cell tell each other: batches of news about their requests, in msgpack."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from paceline.scheduler.events import Finished
from paceline.scheduler.types import Keys, Request, Usage

FORMAT = 2
"""Of what is below: proxies of another format do not hear each other."""
MOST_MS = 3_600_000

Milliseconds = Annotated[int, Meta(ge=1, le=MOST_MS)]
"""Since a request was sent: bounded, so that nobody's rate becomes 0 or infinite by it."""


class Sent(Struct, frozen=True, array_like=True, tag="s"):
    """A request was sent to a backend: 150 bytes with 16 block keys. Its tenant is not told."""

    number: int
    """Its name from here on: what a proxy sends is counted."""
    backend: str
    model: str
    prefix: Keys
    block_tokens: float
    prompt_tokens: int
    max_tokens: int | None
    n: int
    streaming: bool
    exact: bool

    def request(self, id: str, now: float) -> Request:
        """The same for a scheduler."""
        return Request(
            id=id,
            arrived_at=now,
            model=self.model,
            prefix=self.prefix,
            block_tokens=self.block_tokens,
            exact=self.exact,
            prompt_tokens=self.prompt_tokens,
            max_tokens=self.max_tokens,
            n=self.n,
            streaming=self.streaming,
        )


class First(Struct, frozen=True, array_like=True, tag="f"):
    """Its answer began."""

    number: int
    took_ms: Milliseconds


class Ended(Struct, frozen=True, array_like=True, tag="e"):
    """Its answer is complete."""

    number: int
    prompt_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    took_ms: Milliseconds
    answered: Keys
    """Block keys of prompt and answer that follow those of the prompt."""

    def usage(self) -> Usage:
        """What the engine reported."""
        return Usage(
            prompt_tokens=self.prompt_tokens,
            output_tokens=self.output_tokens,
            cached_tokens=self.cached_tokens,
        )


class Failed(Struct, frozen=True, array_like=True, tag="x"):
    """It left the backend without an answer, for whatever reason."""

    number: int


News = Sent | First | Ended | Failed


class Batch(Struct, frozen=True, array_like=True):
    """What one proxy has to tell."""

    proxy: str
    """A random name that it has for its life."""
    run: int
    """Counts how often it began anew; the first batch of a run has all that is in flight."""
    number: int
    """Of the batch in its run, from 0."""
    news: list[News]
    asks: bool = False
    """It lacks what somebody has in flight: all should tell theirs."""
    running: list[int] | None = None
    """From time to time, all that it has in flight: what is not in it has ended."""


def told(number: int, backend: str, request: Request) -> Sent:
    """The news that a request was sent."""
    return Sent(
        number,
        backend,
        request.model,
        request.prefix,
        request.block_tokens,
        request.prompt_tokens,
        request.max_tokens,
        request.n,
        request.streaming,
        request.exact,
    )


def whole_ms(seconds: float) -> int:
    """A span as it is told."""
    return min(max(1, round(seconds * 1000)), MOST_MS)


def ended(number: int, event: Finished, depth: int, took_ms: int) -> Ended:
    """The news that a request, whose prompt has `depth` blocks, was answered."""
    usage = event.usage
    return Ended(
        number,
        usage.prompt_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        took_ms,
        event.prefix[depth:],
    )


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Batch).decode
"""Raises msgspec.DecodeError."""
