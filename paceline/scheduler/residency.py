"""What one backend's KV cache holds, as far as dispatches tell: in flight, and recent by LRU.

A prompt that ended stays until the pool is needed for others, oldest first; a prefix stays as long
as any prompt with it does. That is LRU with the leaf evicted first, as both engines do.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice

from paceline.scheduler.entry import Entries, Entry
from paceline.scheduler.trie import Node, Presence, Trie

UNKNOWN_POOL = 4_000_000
"""Tokens that are remembered of a pool of unknown size, so that the trie is bounded by the pools in
any case: 31,000 blocks of 128 tokens, 8 MB a backend."""


class Residency:
    """The cache of one backend. Methods that change what is cached return the waiting entries
    whose match changed."""

    def __init__(self, id: str, trie: Trie, max_recent: int) -> None:
        self.id = id
        self.capacity: int | None = None
        """Tokens in the pool; None when unknown."""
        self._limit = UNKNOWN_POOL
        self.flying_tokens = 0
        """Tokens that in-flight requests use or are expected to: each node counted once."""
        self._trie = trie
        self._occupied = 0
        """Tokens of the pool in use: nodes present here, tails and answers."""
        self._max_recent = max_recent
        self._recent: OrderedDict[Entry, int] = OrderedDict()
        """Ended prompts, oldest first, with the tokens that only they hold (tail and answer).
        Ordered, because the first of a plain dict is found by walking over all deleted before."""

    @property
    def recent(self) -> int:
        """Number of ended prompts that are believed cached."""
        return len(self._recent)

    def resize(self, capacity: int | None) -> Entries:
        """The pool has this many tokens."""
        self.capacity = capacity
        self._limit = UNKNOWN_POOL if capacity is None else capacity
        return self._shrink({})

    def new_tokens(self, entry: Entry) -> int:
        """KV tokens that this request would add to those in flight."""
        shared = 0
        for node in reversed(entry.nodes):
            presence = node.at.get(self.id)
            if presence is not None and presence.flying:
                shared = node.end
                break
        end = entry.nodes[-1].end if entry.nodes else 0
        return end - shared + entry.tail_tokens + entry.output_tokens

    def upcoming(self, entry: Entry) -> tuple[int, Entry | None]:
        """Tokens of the prompt that are cached or being computed here, and who computes them."""
        for node in reversed(entry.nodes):
            presence = node.at.get(self.id)
            if presence is not None:
                return node.end, next(iter(presence.computing), None)
        return 0, None

    def launch(self, entry: Entry, late: bool) -> Entries:
        """The entry starts here; `late` caches publish what it computes only at `computed`."""
        for node in entry.nodes:
            presence = node.at.get(self.id)
            if presence is None:
                presence = node.at[self.id] = Presence()
                self._occupied += node.tokens
            if not presence.flying:
                self.flying_tokens += node.tokens
            presence.flying += 1
            if not late:
                continue
            if presence.holders:
                presence.holders += 1
                entry.owned += 1
            else:
                presence.computing[entry] = None
        own = entry.tail_tokens + entry.output_tokens
        self.flying_tokens += own
        self._occupied += own
        return self._shrink({}) if late else self.computed(entry)

    def computed(self, entry: Entry) -> Entries:
        """The entry's whole prompt can be matched from now on."""
        entry.computed = True
        changed: Entries = {}
        for node in islice(entry.nodes, entry.owned, None):
            presence = node.at[self.id]
            presence.holders += 1
            if presence.computing:
                presence.computing.pop(entry, None)
            if presence.holders == 1:
                for waiting in node.waiting:
                    waiting.match[self.id] = node.end
                    changed[waiting] = None
        entry.owned = len(entry.nodes)
        return self._shrink(changed)

    def land(self, entry: Entry, output_tokens: int | None) -> Entries:
        """The entry left the engine; with `output_tokens` its KV stays, with None it is lost."""
        for node in entry.nodes:
            presence = node.at[self.id]
            presence.flying -= 1
            if presence.computing:
                presence.computing.pop(entry, None)
            if not presence.flying:
                self.flying_tokens -= node.tokens
        own = entry.tail_tokens + entry.output_tokens
        self.flying_tokens -= own
        self._occupied -= own
        changed: Entries = {}
        if output_tokens is None or not entry.computed:
            self._release(entry, changed)
            return changed
        own = entry.tail_tokens + output_tokens
        self._recent[entry] = own
        self._occupied += own
        return self._shrink(changed)

    def forget(self) -> Entries:
        """The pool was emptied: nothing that ended is cached any more."""
        changed: Entries = {}
        while self._recent:
            self._evict(changed)
        return changed

    def _shrink(self, changed: Entries) -> Entries:
        """Evict until what is left fits; adds those whose match changed to `changed`."""
        recent = self._recent
        while recent and (self._occupied > self._limit or len(recent) > self._max_recent):
            self._evict(changed)
        return changed

    def _evict(self, changed: Entries) -> None:
        entry, own = self._recent.popitem(last=False)
        self._occupied -= own
        self._release(entry, changed)

    def _release(self, entry: Entry, changed: Entries) -> None:
        """Let go of the nodes that the entry holds; the deepest that nobody else holds are lost."""
        kept = 0
        lost: Node | None = None
        owned = entry.owned
        for depth, node in enumerate(entry.nodes):
            presence = node.at[self.id]
            if depth < owned:
                presence.holders -= 1
                if presence.holders:
                    kept = node.end
                else:
                    lost = lost or node
            if not (presence.holders or presence.flying or presence.computing):
                del node.at[self.id]
                self._occupied -= node.tokens
        if lost is not None:
            for waiting in lost.waiting:
                waiting.match[self.id] = kept
                changed[waiting] = None
        entry.owned = 0
        if not entry.waiting:
            self._trie.drop(entry)
