"""A request's mutable record inside the scheduler, from arrival until its KV is forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from paceline.scheduler.line import Line
    from paceline.scheduler.trie import Node
    from paceline.scheduler.types import Request


class Entry:
    """Compared and hashed by identity: it is a key in many small dicts.

    Most requests never wait, so that what only those that do need is set by `wait`; what belongs to
    a dispatch is set by that.
    """

    __slots__ = (
        "avoid",
        "backend",
        "bucket",
        "cached",
        "computed",
        "dispatched_at",
        "followed",
        "held_by",
        "key",
        "lane",
        "line",
        "match",
        "nodes",
        "output_tokens",
        "owned",
        "peers",
        "prefill_tokens",
        "request",
        "seq",
        "starts_at",
        "step",
        "tail_tokens",
        "version",
        "waiting",
        "work",
    )

    output_tokens: int
    """Expected tokens of all its answers."""
    tail_tokens: int
    """Prompt tokens beyond the last full block: never shared. Set by the trie."""

    # While it waits

    lane: str | None
    """Of the line's lanes, or None while it is in none of them."""
    bucket: Hashable
    key: tuple[float, ...]
    """What the policy said of its order."""
    held_by: Entry | None
    """The leader that it waits for."""
    followed: bool
    """It was held for a leader."""

    # Of its dispatch

    backend: str
    dispatched_at: float
    starts_at: float
    """When its prefill should be done, as far as the backend's measured rate tells."""
    cached: int
    """Tokens believed cached then."""
    prefill_tokens: int
    """Uncached prompt tokens then."""
    work: int
    """The backend's whole uncached work up to and including this request, likewise."""
    computed: bool
    """Its prompt can be matched in the backend's cache."""
    step: int
    """How many requests its backend had been sent, this one included; those until it left after."""

    def __init__(self, request: Request, seq: int, *, peers: bool = False) -> None:
        self.request = request
        self.seq = seq
        """Order of arrival."""
        self.peers = peers
        """Another proxy sent it: never waits, and no policy knows of it."""
        self.nodes: list[Node] = []
        self.match: dict[str, int] = {}
        """While waiting: tokens of the prompt believed to be cached, per backend."""
        self.owned = 0
        """How many of its nodes it holds in the backend's cache."""
        self.waiting = True
        self.line: Line | None = None
        """Where it waits."""
        self.version = 0
        """Of its place in the queue: a heap item with another one is stale."""
        self.avoid = ""
        """The backend that failed it."""

    def wait(self) -> None:
        """It needs a place in a queue."""
        self.lane = None
        self.bucket = 0
        self.key = ()
        self.held_by = None
        self.followed = False

    @property
    def retried(self) -> bool:
        """It comes back after a failure."""
        return bool(self.avoid)


Entries = dict[Entry, None]
"""A set of entries with an order, so that equal inputs give equal outputs."""
