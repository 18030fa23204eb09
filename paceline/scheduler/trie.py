"""The trie of prompts that wait, run or are believed cached: the only module that knows pygtrie.

Keys are tuples of chained block keys. Each node stands for a prefix and carries who waits below it
and where it is cached. An entry keeps its list of nodes, so that only its arrival and its last
release walk the trie (20 and 3 us at 16 blocks; bench/scheduler.py).
"""

from __future__ import annotations

import pygtrie

from paceline.scheduler.blocks import BOUNDS
from paceline.scheduler.entry import Entries, Entry


class Presence:
    """One node on one backend: who has it cached, who computes it, who runs with it."""

    __slots__ = ("computing", "flying", "holders")

    def __init__(self) -> None:
        self.holders = 0
        """Entries, in flight or recent, whose prompt's KV includes this node."""
        self.computing: Entries = {}
        """In-flight entries that compute it and have not published it; the first one leads."""
        self.flying = 0
        """In-flight entries that use it."""


class Node:
    """A prefix: `tokens` in its last block, `end` tokens in all."""

    __slots__ = ("at", "end", "tokens", "users", "waiting")

    def __init__(self, start: int, end: int) -> None:
        self.tokens = end - start
        self.end = end
        self.users = 0
        """Entries of any stage that go through it; at 0 it is removed."""
        self.waiting: Entries = {}
        self.at: dict[str, Presence] = {}


class PrefixTrie:
    """Owns the nodes: creates a prompt's on arrival, removes those that nobody uses."""

    def __init__(self) -> None:
        self._trie: pygtrie.Trie[tuple[int, ...], Node | None, int] = pygtrie.Trie()
        self.nodes = 0

    def add(self, entry: Entry) -> None:
        """Give the entry its nodes and note what is cached of it on each backend."""
        request = entry.request
        if request.prefix:
            self._insert(entry)
        shared = entry.nodes[-1].end if entry.nodes else 0
        entry.tail_tokens = max(0, request.prompt_tokens - shared)
        self.wait(entry)

    def wait(self, entry: Entry) -> None:
        """Let the entry wait below its nodes: its match is kept up to date from now on."""
        entry.match.clear()
        for node in entry.nodes:
            node.waiting[entry] = None
            for backend, presence in node.at.items():
                if presence.holders:
                    entry.match[backend] = node.end

    def leave(self, entry: Entry) -> None:
        """The entry no longer waits."""
        for node in entry.nodes:
            del node.waiting[entry]

    def drop(self, entry: Entry) -> None:
        """The entry uses its nodes no more: those without users go, from the topmost down."""
        unused = -1
        for depth, node in enumerate(entry.nodes):
            node.users -= 1
            if not node.users and unused < 0:
                unused = depth
        if unused >= 0:
            self.nodes -= len(entry.nodes) - unused
            del self._trie[entry.request.prefix[: unused + 1] :]
        entry.nodes = []

    def _insert(self, entry: Entry) -> None:
        key = entry.request.prefix
        block = entry.request.block_tokens
        start = 0
        self._trie.setdefault(key, None)
        for depth, step in enumerate(self._trie.walk_towards(key)):
            if not depth:
                continue  # the root: the empty prefix
            node = step.get()
            if node is None:
                end = max(start + 1, int(BOUNDS[depth - 1] * block))
                node = step.value = Node(start, end)
                self.nodes += 1
            node.users += 1
            start = node.end
            entry.nodes.append(node)
