"""What one backend's KV cache holds, as far as dispatches tell: in flight, and recent by LRU.

A prompt that ended stays until the pool is needed for others, oldest first; a prefix stays as long
as any prompt with it does. That is LRU with the leaf evicted first, as both engines do.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice

from paceline.scheduler.entry import Entries, Entry
from paceline.scheduler.trie import Node, Presence, Trie


class Residency:
    """The cache of one backend. Methods that change what is cached return the waiting entries
    whose match changed."""

    def __init__(self, id: str, trie: Trie, max_recent: int) -> None:
        self.id = id
        self.capacity: int | None = None
        """Tokens in the pool; None when unknown."""
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
        return self._shrink()

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
        cached = 0
        for node in entry.nodes:
            presence = node.at.get(self.id)
            if presence is None:
                presence = node.at[self.id] = Presence()
                self._occupied += node.tokens
            if not presence.flying:
                self.flying_tokens += node.tokens
            presence.flying += 1
            if presence.holders:
                cached += 1
            elif late:
                presence.computing[entry] = None
        self.flying_tokens += entry.tail_tokens + entry.output_tokens
        self._occupied += entry.tail_tokens + entry.output_tokens
        if not late:
            return self.computed(entry)
        self._hold(entry, cached)
        return self._shrink()

    def computed(self, entry: Entry) -> Entries:
        """The entry's whole prompt can be matched from now on."""
        entry.computed = True
        fresh = self._hold(entry, len(entry.nodes))
        changed: Entries = {}
        for node in fresh:
            for waiting in node.waiting:
                waiting.match[self.id] = node.end
            changed.update(node.waiting)
        return changed | self._shrink()

    def land(self, entry: Entry, output_tokens: int | None) -> Entries:
        """The entry left the engine; with `output_tokens` its KV stays, with None it is lost."""
        for node in entry.nodes:
            presence = node.at[self.id]
            presence.flying -= 1
            presence.computing.pop(entry, None)
            if not presence.flying:
                self.flying_tokens -= node.tokens
        self.flying_tokens -= entry.tail_tokens + entry.output_tokens
        self._occupied -= entry.tail_tokens + entry.output_tokens
        if output_tokens is None or not entry.computed:
            return self._release(entry)
        own = entry.tail_tokens + output_tokens
        self._recent[entry] = own
        self._occupied += own
        return self._shrink()

    def forget(self) -> Entries:
        """The pool was emptied: nothing that ended is cached any more."""
        changed: Entries = {}
        while self._recent:
            changed |= self._evict()
        return changed

    def _hold(self, entry: Entry, upto: int) -> list[Node]:
        fresh = []
        for node in islice(entry.nodes, entry.owned, upto):
            presence = node.at[self.id]
            presence.computing.pop(entry, None)
            if not presence.holders:
                fresh.append(node)
            presence.holders += 1
        entry.owned = upto
        return fresh

    def _shrink(self) -> Entries:
        changed: Entries = {}
        while self._recent and self._over():
            changed |= self._evict()
        return changed

    def _over(self) -> bool:
        if len(self._recent) > self._max_recent:
            return True
        return self.capacity is not None and self._occupied > self.capacity

    def _evict(self) -> Entries:
        entry, own = self._recent.popitem(last=False)
        self._occupied -= own
        return self._release(entry)

    def _release(self, entry: Entry) -> Entries:
        """Let go of the nodes that the entry holds; the deepest that nobody else holds are lost."""
        kept = 0
        lost: Node | None = None
        for node in islice(entry.nodes, entry.owned):
            presence = node.at[self.id]
            presence.holders -= 1
            if presence.holders:
                kept = node.end
            else:
                lost = lost or node
        self._tidy(entry.nodes)
        changed: Entries = dict(lost.waiting) if lost is not None else {}
        for waiting in changed:
            waiting.match[self.id] = kept
        entry.owned = 0
        if not entry.waiting:
            self._trie.drop(entry)
        return changed

    def _tidy(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            presence = node.at[self.id]
            if not (presence.holders or presence.flying or presence.computing):
                del node.at[self.id]
                self._occupied -= node.tokens
