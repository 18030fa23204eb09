"""A request's mutable record inside the scheduler, from arrival until its KV is forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from paceline.scheduler.line import Line
    from paceline.scheduler.trie import Node
    from paceline.scheduler.types import Request


class Entry:
    """Compared and hashed by identity: it is a key in many small dicts."""

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
        "retried",
        "seq",
        "starts_at",
        "step",
        "tail_tokens",
        "version",
        "waiting",
        "work",
    )

    def __init__(self, request: Request, seq: int, *, peers: bool = False) -> None:
        self.request = request
        self.seq = seq
        """Order of arrival."""
        self.peers = peers
        """Another proxy sent it: never waits, and no policy knows of it."""
        self.nodes: list[Node] = []
        self.tail_tokens = 0
        """Prompt tokens beyond the last full block: never shared."""
        self.match: dict[str, int] = {}
        """While waiting: tokens of the prompt believed to be cached, per backend."""

        self.waiting = True
        self.line: Line | None = None
        """Where it waits."""
        self.lane: str | None = None
        """Of the line's lanes, or None while it is in none of them."""
        self.bucket: Hashable = 0
        self.key: tuple[float, ...] = ()
        """What the policy said of its order."""
        self.held_by: Entry | None = None
        """The leader that it waits for."""
        self.followed = False
        """It was held for a leader."""
        self.version = 0
        """Of its place in the queue: a heap item with another one is stale."""
        self.avoid = ""
        """The backend that failed it."""
        self.retried = False

        self.backend = ""
        self.dispatched_at = 0.0
        self.starts_at = 0.0
        """When its prefill should be done, as far as the backend's measured rate tells."""
        self.cached = 0
        """Tokens believed cached when it was dispatched."""
        self.prefill_tokens = 0
        """Uncached prompt tokens when it was dispatched."""
        self.work = 0
        """The backend's whole uncached work up to and including this request, likewise."""
        self.output_tokens = 0
        """Expected tokens of all its answers."""
        self.computed = False
        """Its prompt can be matched in the backend's cache."""
        self.owned = 0
        """How many of its nodes it holds in the backend's cache."""
        self.step = 0
        """When it was dispatched to its backend, then when it left: that cache counts both."""


Entries = dict[Entry, None]
"""A set of entries with an order, so that equal inputs give equal outputs."""
