"""The scheduler's own event log, to be played again: `{"time": seconds, "event": {...}}` a line.

Events are those of `scheduler.events`, tagged with their type. A prompt is known by its block keys
only; its tokens are made from them, so that what shared a prefix shares one again. A request counts
when its `Finished` told the true length of its answer; others are left out.
"""

from __future__ import annotations

from array import array
from random import Random

import msgspec
from msgspec import Struct

from paceline.scheduler.blocks import BOUNDS
from paceline.scheduler.events import Arrived, Event, Finished
from paceline.scheduler.types import Request
from paceline.sim.rows import Rows
from paceline.sim.workload import Turn, Workload, fresh, single


class LoggedEvent(Struct, frozen=True):
    """One line: what the scheduler was told, and when."""

    time: float
    """Seconds on the recording process's clock."""
    event: Event


_decoder = msgspec.json.Decoder(LoggedEvent)


def event_log(rows: Rows) -> Workload:
    """Requests by arrival, the first at 0; TraceError for a line that is no event."""
    answers: dict[str, int] = {}
    arrivals: list[tuple[float, Request]] = []
    for line in rows.read(_decoder.decode):
        match line.event:
            case Arrived(request):
                arrivals.append((line.time, request))
            case Finished(id, usage) if usage.output_tokens:
                answers[id] = usage.output_tokens
            case _:
                pass
    for time, request in arrivals:
        if request.id in answers:
            turn = _turn(request, answers[request.id])
            yield single(request.id, turn, time - arrivals[0][0])


def _turn(request: Request, output_tokens: int) -> Turn:
    return Turn(
        prompt=_prompt(request),
        output_tokens=max(1, output_tokens // request.n),
        max_tokens=request.max_tokens,
        n=request.n,
        tenant=request.tenant,
    )


def _prompt(request: Request) -> array[int]:
    """Each block's tokens are its key; what is after the last block is nobody else's."""
    tokens = array("I")
    for key, bound in zip(request.prefix, BOUNDS, strict=False):
        missing = round(bound * request.block_tokens) - len(tokens)
        tokens.extend(array("I", [key & 0xFFFFFFFF]) * missing)
    rest = max(request.prompt_tokens - len(tokens), 0 if tokens else 1)
    return tokens + fresh(Random(request.id), rest)
