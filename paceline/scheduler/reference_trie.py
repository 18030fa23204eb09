"""The trie on pygtrie, a node a block: slower than `trie`, and what tests compare it with.

Both give the same matches and lead to the same decisions; `trie` has the figures.
"""

from __future__ import annotations

import pygtrie

from paceline.scheduler.entry import Entry
from paceline.scheduler.trie import Node, PrefixTrie
from paceline.scheduler.types import Keys


class ReferenceTrie(PrefixTrie):
    """`PrefixTrie` out of the textbook: insertion walks down, removal cuts a branch off."""

    def __init__(self) -> None:
        super().__init__()
        self._trie: pygtrie.Trie[tuple[int, ...], Node | None, int] = pygtrie.Trie()

    @property
    def blocks(self) -> int:
        """Blocks in all nodes: one each."""
        return self.nodes

    def find(self, key: int) -> Node | None:
        """The node with this block, looked for in all of them."""
        return next((node for node in self._trie.values() if node and node.keys == (key,)), None)

    def drop(self, entry: Entry) -> None:
        """The entry uses its nodes no more: those without users go, from the topmost down."""
        for node in entry.nodes:
            del node.users[entry]
        used = sum(bool(node.users) for node in entry.nodes)
        if used < len(entry.nodes):
            self.nodes -= len(entry.nodes) - used
            del self._trie[tuple(node.keys[0] for node in entry.nodes[: used + 1]) :]
        entry.nodes = []

    def extend(self, entry: Entry, keys: Keys) -> int:
        """Give the entry a node a block, then its match."""
        had = len(entry.nodes)
        start = entry.nodes[-1].end if had else 0
        if len(keys) == had:
            return start
        self._trie.setdefault(keys, None)
        for depth, step in enumerate(self._trie.walk_towards(keys)):
            if depth <= had:
                continue  # depth 0 is the root: the empty prefix
            node = step.get()
            if node is None:
                block = entry.request.block_tokens
                node = step.value = Node(keys[depth - 1 : depth], depth, start, block)
                self.nodes += 1
            node.users[entry] = None
            start = node.end
            entry.nodes.append(node)
        self.match(entry)
        return start
