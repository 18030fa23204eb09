"""What one backend's KV cache holds, as far as dispatches tell: in flight, and recent by LRU.

A prompt that ended stays until the pool is needed for others, oldest first; a prefix stays as long
as any prompt with it does. That is LRU with the leaf evicted first, as both engines do. Where the
engine tells which blocks it has, that counts for prompts of exact blocks once they have ended.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice, takewhile

from paceline.scheduler.blocks import BOUNDS
from paceline.scheduler.entry import Entries, Entry
from paceline.scheduler.estimates import truly_cached
from paceline.scheduler.events import CacheReported
from paceline.scheduler.trie import Node, PrefixTrie, Presence
from paceline.scheduler.types import Keys, Usage

UNKNOWN_POOL = 4_000_000
"""Tokens that are remembered of a pool of unknown size, so that the trie is bounded by the pools in
any case: 31,000 blocks of 128 tokens, 8 MB a backend."""
MISSED = 256
"""Ended prompts that one miss makes forgotten: some 2 ms of work."""


class Residency:
    """The cache of one backend. Methods that change what is cached return the waiting entries
    whose match changed."""

    def __init__(self, id: str, trie: PrefixTrie, max_recent: int) -> None:
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
        self._step = 0
        self._told: set[int] | None = None
        """Keys of the blocks that the engine says it has; None where it does not tell."""

    @property
    def recent(self) -> int:
        """Number of ended prompts that are believed cached."""
        return len(self._recent)

    @property
    def exact(self) -> bool:
        """Whether the engine tells what it has."""
        return self._told is not None

    def resize(self, capacity: int | None) -> Entries:
        """The pool has this many tokens."""
        self.capacity = capacity
        self._limit = UNKNOWN_POOL if capacity is None else capacity
        return self._shrink({})

    def new_tokens(self, entry: Entry) -> int:
        """KV tokens that this request would add to those in flight."""
        tokens = entry.tail_tokens + entry.output_tokens
        for node in reversed(entry.nodes):
            presence = node.at.get(self.id)
            if presence is not None and presence.flying:
                break
            tokens += node.tokens
        return tokens

    def upcoming(self, entry: Entry) -> tuple[int, Entry | None]:
        """Tokens of the prompt that are cached or being computed here, and who computes them."""
        matched = entry.match.get(self.id, 0)
        for node in reversed(entry.nodes):
            if node.end <= matched:
                break
            presence = node.at.get(self.id)
            if presence is not None:
                return node.end, next(iter(presence.computing), None)
        return matched, None

    def launch(self, entry: Entry, late: bool) -> Entries:
        """The entry starts here; `late` caches publish what it computes only at `computed`."""
        self._step = entry.step = self._step + 1
        entry.computed = not late
        entry.owned = len(entry.nodes)
        id = self.id
        fresh: list[Node] = []
        added = entry.tail_tokens + entry.output_tokens
        for node in entry.nodes:
            presence = node.at.get(id)
            if presence is None:
                presence = node.at[id] = Presence(1)
                added += node.tokens
            else:
                if not presence.flying:
                    self.flying_tokens += node.tokens
                presence.flying += 1
            if presence.holders:
                presence.holders += 1
            elif late:
                presence.computing[entry] = None
                entry.owned -= 1
            else:
                presence.holders = 1
                if node.waiting:
                    fresh.append(node)
        self.flying_tokens += added
        self._occupied += added
        changed = self._tell_waiting(fresh) if fresh else {}
        return self._shrink(changed) if self._occupied > self._limit else changed

    def computed(self, entry: Entry) -> Entries:
        """The entry's whole prompt can be matched from now on."""
        entry.computed = True
        return self._shrink(self._publish(entry))

    def land(self, entry: Entry, output_tokens: int | None, answered: Keys = ()) -> Entries:
        """The entry left the engine; with `output_tokens` its KV stays, with None it is lost.

        `answered`: the block keys of its prompt and answer, which a later prompt may begin with.
        """
        id = self.id
        own = rested = entry.tail_tokens + entry.output_tokens
        for node in entry.nodes:
            presence = node.at[id]
            presence.flying -= 1
            if not presence.flying:
                rested += node.tokens
        self.flying_tokens -= rested
        if (
            output_tokens is None
            or not entry.computed
            or (self._told is not None and entry.request.exact)
        ):
            self._occupied -= own
            return self._lose(entry)
        changed: Entries = {}
        kept = entry.tail_tokens + output_tokens
        if len(answered) > len(entry.request.prefix):
            before = entry.nodes[-1].end if entry.nodes else 0
            kept = max(0, kept + before - self._trie.extend(entry, answered))
            changed = self._publish(entry)
        entry.step = self._step
        self._recent[entry] = kept
        self._occupied += kept - own
        if self._occupied > self._limit or len(self._recent) > self._max_recent:
            return self._shrink(changed)
        return changed

    def missed(self, entry: Entry, usage: Usage) -> Entries:
        """The engine reported less of this entry's prompt as cached than was believed.

        Whatever ended before it came, and goes on behind what was cached, is lost. The oldest
        `MISSED` of those are forgotten; the next request that misses tells of the others.
        """
        request = entry.request
        cached = truly_cached(entry.cached, request.prompt_tokens, usage)
        changed: Entries = {}
        if cached < entry.cached:
            first = self._trie.cut(entry, bisect_right(BOUNDS, cached / request.block_tokens))
            if first == len(entry.nodes):  # all of it: whoever came first had thought it longer
                return changed
            users = entry.nodes[first].users
            ended = (user for user in users if user in self._recent and user.step < entry.step)
            lost = [user for user in ended if user.owned > first]
            for user in lost[:MISSED]:
                self._occupied -= self._recent[user]
                self._recent[user] = 0
                changed |= self._release(user, first)
                if not first:
                    del self._recent[user]
        return changed

    def tell(self, event: CacheReported) -> Entries:
        """The engine tells what it has; from then on that is believed, until it tells no longer."""
        changed: Entries = {}
        if not event.known:
            lost, self._told = self._told, None
            changed = self._rematch(lost or ())
        elif self._told is None:
            changed = self.forget()
            self._told = set()
        if self._told is not None:
            self._told.update(event.stored)
            self._told.difference_update(event.removed)
            changed |= self._rematch((*event.stored, *event.removed))
        return changed

    def _rematch(self, keys: Iterable[int]) -> Entries:
        """Match those anew that wait with one of these blocks; returns them."""
        changed: Entries = {}
        for key in keys:
            if (node := self._trie.find(key)) is not None:
                changed.update(node.waiting)
        for waiting in changed:
            self.recognise(waiting)
        return changed

    def recognise(self, waiting: Entry) -> None:
        """Match an entry afresh."""
        held = 0
        for node in reversed(waiting.nodes):
            presence = node.at.get(self.id)
            if presence is not None and presence.holders:
                held = node.end
                break
        waiting.match[self.id] = held
        self._add_told({waiting: None})

    def forget(self) -> Entries:
        """The pool was emptied: nothing that ended is cached any more, but for what is told."""
        changed: Entries = {}
        while self._recent:
            changed |= self._evict()
        return changed

    def _publish(self, entry: Entry) -> Entries:
        """It holds all that it has, and this can be matched."""
        id = self.id
        fresh: list[Node] = []
        for node in islice(entry.nodes, entry.owned, None):
            presence = node.at.get(id)
            if presence is None:  # behind its prompt
                presence = node.at[id] = Presence(0)
                self._occupied += node.tokens
            presence.computing.pop(entry, None)
            if not presence.holders and node.waiting:
                fresh.append(node)
            presence.holders += 1
        entry.owned = len(entry.nodes)
        return self._tell_waiting(fresh) if fresh else {}

    def _tell_waiting(self, fresh: list[Node]) -> Entries:
        """These can be matched from now on."""
        changed: Entries = {}
        for node in fresh:
            for waiting in node.waiting:
                waiting.match[self.id] = node.end
            changed.update(node.waiting)
        if self._told is not None:
            self._add_told(changed)
        return changed

    def _add_told(self, changed: Entries) -> None:
        """Beyond what prompts known here hold, the engine may have told of more."""
        told = self._told or ()
        for waiting in changed:
            request = waiting.request
            if request.exact:
                depth = sum(1 for _ in takewhile(told.__contains__, request.prefix))
                tokens = int(BOUNDS[depth - 1] * request.block_tokens) if depth else 0
                waiting.match[self.id] = max(tokens, waiting.match[self.id])

    def _shrink(self, changed: Entries) -> Entries:
        """Forget what there is no room for; returns `changed` with whom that concerns."""
        recent = self._recent
        while recent and (self._occupied > self._limit or len(recent) > self._max_recent):
            changed |= self._evict()
        return changed

    def _lose(self, entry: Entry) -> Entries:
        """What it has, and what it computes, is not kept for it."""
        for node in islice(entry.nodes, entry.owned, None):
            presence = node.at[self.id]
            del presence.computing[entry]
            if not (presence.holders or presence.flying):
                self._vacate(node)
        return self._release(entry)

    def _evict(self) -> Entries:
        entry, own = self._recent.popitem(last=False)
        self._occupied -= own
        return self._release(entry)

    def _release(self, entry: Entry, first: int = 0) -> Entries:
        """Let go of the nodes that the entry holds, but for so many; the deepest that nobody else
        holds are lost."""
        id, owned = self.id, entry.owned
        kept = entry.nodes[first - 1].end if first else 0
        lost: Node | None = None
        for node in entry.nodes[first:owned]:
            presence = node.at[id]
            presence.holders -= 1
            if presence.holders:
                kept = node.end
                continue
            if lost is None:
                lost = node
            if not presence.flying:
                self._vacate(node)
        entry.owned = min(owned, first)
        changed = self._tell_lost(lost, kept) if lost is not None and lost.waiting else {}
        if not (first or entry.waiting):
            self._trie.drop(entry)
        return changed

    def _tell_lost(self, lost: Node, kept: int) -> Entries:
        """Of what waits below this node, no more than so many tokens can be matched."""
        changed = lost.waiting.copy()
        for waiting in changed:
            waiting.match[self.id] = kept
        if self._told is not None:
            self._add_told(changed)
        return changed

    def _vacate(self, node: Node) -> None:
        """Nobody has or computes this node here."""
        del node.at[self.id]
        self._occupied -= node.tokens
