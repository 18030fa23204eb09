"""The scheduler's own event log, to be played again: a `LoggedEvent` in JSON a line.

`paceline serve --record FILE` writes it. A prompt is known by its block keys only; its tokens are
made from them, so that what shared a prefix shares one again. The proxy estimates lengths; the
engine's usage at the end corrects them. A request counts when its `Finished` told the true length
of its answer; others are left out and counted.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from random import Random

import msgspec
from msgspec import Struct

from paceline.scheduler.blocks import BOUNDS
from paceline.scheduler.event_log import LoggedEvent
from paceline.scheduler.events import Arrived, Finished
from paceline.scheduler.types import Request, Usage
from paceline.sim.rows import Rows
from paceline.sim.workload import Turn, Workload, fresh, single

_decoder = msgspec.json.Decoder(LoggedEvent)


def event_log(rows: Rows) -> Workload:
    """Requests by arrival, the first at 0; TraceError for a line that is no event.

    The file is read twice: what is known of a request only at its end is needed at its arrival.
    """
    answers = _Answers()
    for line in rows.again().read(_decoder.decode):
        answers.take(line)
    start: float | None = None
    for time, request in _arrivals(rows):
        usage = answers.usage.pop(request.id, None)
        if usage is None:
            rows.skipped += 1
            continue
        start = time if start is None else start
        turn = _turn(request, usage, answers.tokens_a_block(request))
        yield single(request.id, turn, max(0.0, time - start))


def _arrivals(rows: Rows) -> Iterator[tuple[float, Request]]:
    for line in rows.read(_decoder.decode):
        if isinstance(line.event, Arrived):
            yield line.time, line.event.request


class _Blocks(Struct, gc=False):
    """Prompts that begin alike: their length in tokens, and in base blocks."""

    tokens: float = 0.0
    blocks: float = 0.0


class _Answers:
    """What the ends of requests tell."""

    def __init__(self) -> None:
        self.usage: dict[str, Usage] = {}
        """Of the requests whose answer's length is known."""
        self._open: dict[str, tuple[int, int, float]] = {}
        """First key, estimated tokens and base blocks of those that have not ended."""
        self._sizes: dict[int, _Blocks] = {}
        """By first key: who shares a block must agree on the size of blocks."""

    def take(self, line: LoggedEvent) -> None:
        """Look at one event."""
        match line.event:
            case Arrived(request) if request.block_tokens > 0:
                blocks = request.prompt_tokens / request.block_tokens
                self._open[request.id] = _root(request), request.prompt_tokens, blocks
            case Finished(id, usage) if usage.output_tokens and id in self._open:
                self.usage[id] = usage
                root, estimated, blocks = self._open.pop(id)
                size = self._sizes.setdefault(root, _Blocks())
                size.tokens += usage.prompt_tokens or estimated
                size.blocks += blocks
            case _:
                pass

    def tokens_a_block(self, request: Request) -> float:
        """True tokens in a base block of prompts that begin like this one."""
        size = self._sizes[_root(request)]
        return size.tokens / size.blocks if size.blocks else request.block_tokens


def _root(request: Request) -> int:
    return request.prefix[0] if request.prefix else 0


def _turn(request: Request, usage: Usage, block_tokens: float) -> Turn:
    length = max(1, usage.prompt_tokens or request.prompt_tokens)
    return Turn(
        prompt=_prompt(request, length, block_tokens),
        output_tokens=max(1, (usage.output_tokens or 0) // request.n),
        max_tokens=request.max_tokens,
        n=request.n,
        tenant=request.tenant,
    )


def _prompt(request: Request, length: int, block_tokens: float) -> array[int]:
    """Each block's tokens are its key; what is after the last block is nobody else's."""
    tokens = array("I")
    for key, bound in zip(request.prefix, BOUNDS, strict=False):
        missing = min(round(bound * block_tokens), length - 1) - len(tokens)
        tokens.extend(array("I", [key & 0xFFFFFFFF]) * missing)
    return tokens + fresh(Random(request.id), length - len(tokens))
