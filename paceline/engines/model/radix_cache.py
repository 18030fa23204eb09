"""SGLang's prefix cache: a radix tree over tokens whose leaves are evicted whole, oldest first.

Rules read in SGLang 0.5.16 and 0.5.23 (`radix_cache.py`, `unified_tree_core.py`): a match or an
insert stamps the path, and what it splits off below; a path that a running request uses is locked;
eviction drops whole unlocked leaves.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count

from paceline.engines.model.tape import TOKEN_BYTES


class Node:
    """An edge of the tree: the tokens between its parent and itself."""

    __slots__ = ("children", "key", "locks", "offered", "parent", "stamp")

    def __init__(self, key: bytes, parent: Node | None, stamp: int) -> None:
        self.key = key
        self.parent = parent
        self.stamp = stamp
        self.children: dict[bytes, Node] = {}
        self.locks = 0
        self.offered = False
        """Whether it stands in the heap of leaves to evict."""

    @property
    def tokens(self) -> int:
        """Tokens of this edge."""
        return len(self.key) // TOKEN_BYTES


class RadixCache:
    """Cached prefixes, page-aligned; lengths are in tokens, prompts are tapes (`tape.encode`)."""

    def __init__(self, page_size: int = 1) -> None:
        self.root = Node(b"", None, 0)
        self.tokens = 0
        """Tokens in the tree."""
        self.evictable = 0
        """Those of them that no running request locks."""
        self.shared = 0
        """Tokens locked by running requests beyond the first one of each."""
        self.evicted = 0
        """Tokens evicted so far."""
        self._unit = page_size * TOKEN_BYTES
        self._clock = 0
        self._heap: list[tuple[int, int, Node]] = []
        self._serial = count()

    def match(self, tape: bytes, limit: int) -> tuple[Node, int]:
        """The node where the longest cached prefix of at most `limit` tokens ends, and its length.

        Stamps the path, and splits the node in which the match ends.
        """
        self._clock += 1
        node, at, end = self.root, 0, self._aligned(limit)
        while at < end:
            child = node.children.get(tape[at : at + self._unit])
            if child is None:
                break
            shared = self._shared(child.key, tape, at, end)
            if shared < len(child.key):
                child = self._split(child, shared)
            child.stamp = self._clock
            node, at = child, at + shared
        return node, at // TOKEN_BYTES

    def insert(self, tape: bytes, length: int) -> tuple[Node, int]:
        """Add the first `length` tokens; the node where their whole pages end, and that length."""
        node, cached = self.match(tape, length)
        start, end = cached * TOKEN_BYTES, self._aligned(length)
        if start < end:
            node = self._grow(node, tape[start:end])
        return node, end // TOKEN_BYTES

    def lock(self, node: Node) -> None:
        """Keep `node` and all above it from eviction, once more."""
        while node.parent is not None:
            if node.locks:
                self.shared += node.tokens
            else:
                self.evictable -= node.tokens
            node.locks += 1
            node = node.parent

    def unlock(self, node: Node) -> None:
        """Undo one `lock`."""
        while node.parent is not None:
            node.locks -= 1
            if node.locks:
                self.shared -= node.tokens
            else:
                self.evictable += node.tokens
                self._offer(node)
            node = node.parent

    def evict(self, tokens: int) -> None:
        """Drop unlocked leaves, oldest first, until at least `tokens` are gone or none is left."""
        goal = self.evicted + tokens
        while self.evicted < goal and self._heap:
            stamp, _, node = heappop(self._heap)
            node.offered = False
            if node.stamp != stamp:
                self._offer(node)
            elif not node.locks and not node.children:
                self._drop(node)

    def flush(self) -> None:
        """Forget everything; only while nothing is locked."""
        self.root.children.clear()
        self._heap.clear()
        self.tokens = self.evictable = 0

    def _aligned(self, tokens: int) -> int:
        return tokens * TOKEN_BYTES // self._unit * self._unit

    def _shared(self, key: bytes, tape: bytes, at: int, end: int) -> int:
        """Bytes, in whole pages, that `key` has in common with `tape[at:end]`."""
        low, high = self._unit, min(len(key), end - at)
        if key[:high] == tape[at : at + high]:
            return high
        while high - low > self._unit:
            middle = (low + high) // 2 // self._unit * self._unit
            if key[low:middle] == tape[at + low : at + middle]:
                low = middle
            else:
                high = middle
        return low

    def _split(self, node: Node, at: int) -> Node:
        """Cut `node` after `at` bytes; the new upper half. Both count as used now."""
        assert node.parent is not None
        node.stamp = self._clock
        upper = Node(node.key[:at], node.parent, node.stamp)
        upper.locks = node.locks
        node.parent.children[upper.key[: self._unit]] = upper
        node.key, node.parent = node.key[at:], upper
        upper.children[node.key[: self._unit]] = node
        return upper

    def _grow(self, parent: Node, key: bytes) -> Node:
        leaf = Node(key, parent, self._clock)
        parent.children[key[: self._unit]] = leaf
        self.tokens += leaf.tokens
        self.evictable += leaf.tokens
        self._offer(leaf)
        return leaf

    def _offer(self, node: Node) -> None:
        """Let `node` be evicted once it is an unlocked leaf; what is not is passed over then."""
        if not node.children and not node.offered:
            node.offered = True
            heappush(self._heap, (node.stamp, next(self._serial), node))

    def _drop(self, node: Node) -> None:
        parent = node.parent
        assert parent is not None
        del parent.children[node.key[: self._unit]]
        self.tokens -= node.tokens
        self.evictable -= node.tokens
        self.evicted += node.tokens
        if parent.parent is not None and not parent.locks:
            self._offer(parent)
