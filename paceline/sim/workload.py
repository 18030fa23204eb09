"""What clients want: sessions of turns, each turn with its prompt, its true answer and its pause.

A single request is a session of one turn. Sessions and turns are iterated, never listed, so that a
trace of a million requests needs the memory of those under way.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from random import Random

from msgspec import Struct

from paceline.scheduler.blocks import BLOCK_IDS, chain

TOKEN_BYTES = 4


class Turn(Struct, kw_only=True):
    """One request with its future; only the engine's side ever sees `output_tokens`."""

    prompt: array[int]
    """Token ids, all of the conversation so far."""
    output_tokens: int
    """True length of the answer, at least 1."""
    max_tokens: int | None = None
    """The client's limit, which schedulers see."""
    output: array[int] | None = None
    """Ids of the answer where a later prompt contains it."""
    pause: float = 0.0
    """Seconds after the end of the turn before, or after the session's start."""
    family: str = ""
    """Requests of one family share a prefix."""
    tenant: str = ""
    n: int = 1
    """Choices sampled from the one prompt."""


class Session(Struct):
    """Turns that follow one another; each waits for the answer to the one before."""

    id: str
    turns: Iterable[Turn]
    at: float = 0.0
    """When it starts, in seconds; with a closed loop, when it may at the earliest."""


Workload = Iterator[Session]
"""Sessions by the time of their start."""


def keys(ids: array[int]) -> tuple[int, ...]:
    """The block keys of a prompt, as the scheduler sees them."""
    return chain(b"sim", ids.tobytes(), BLOCK_IDS * TOKEN_BYTES)


def fresh(rng: Random, count: int) -> array[int]:
    """`count` random 32-bit ids: two draws share a block by accident once in 2**512 at 16 ids."""
    return array("I", rng.randbytes(TOKEN_BYTES * count))


def single(id: str, turn: Turn, at: float = 0.0) -> Session:
    """A request of its own."""
    return Session(id, (turn,), at)
