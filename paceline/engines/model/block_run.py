"""Runs of KV blocks that came together, as edges of a tree of prefixes, and which are idle longest.

A node says which tokens its blocks hold; its runs are the places where they lie in memory: one,
or more when the same tokens were computed twice.
"""

from __future__ import annotations


class Node:
    """The blocks between its parent's last and its own last; each holds `width` bytes of tape."""

    __slots__ = ("children", "key", "parent", "runs", "start", "width")

    def __init__(self, key: bytearray, parent: Node | None, start: int, width: int) -> None:
        self.key = key
        self.parent = parent
        self.start = start
        """Blocks before it, from the root."""
        self.width = width
        self.children: dict[bytes, Node] = {}
        self.runs: list[Run] = []
        """Oldest first; the first is the one that is found."""
        if parent is not None:
            parent.children[bytes(key[:width])] = self

    @property
    def blocks(self) -> int:
        """Its own, without its parent's."""
        return len(self.key) // self.width

    def shared(self, tape: bytes, at: int, end: int) -> int:
        """Bytes, in whole blocks, that it has in common with `tape[at:end]`, which begins alike."""
        key, width = self.key, self.width
        low, high = width, min(len(key), end - at)
        if key[:high] == tape[at : at + high]:
            return high
        while high - low > width:
            middle = (low + high) // 2 // width * width
            if key[low:middle] == tape[at + low : at + middle]:
                low = middle
            else:
                high = middle
        return low

    def split(self, blocks: int) -> Node:
        """Make a new node of the first `blocks`; this one keeps the rest."""
        cut = blocks * self.width
        upper = Node(self.key[:cut], self.parent, self.start, self.width)
        self.key = self.key[cut:]
        self.parent = upper
        self.start += blocks
        upper.children[bytes(self.key[: self.width])] = self
        upper.runs = [run.split(upper) for run in self.runs]
        return upper

    def lose(self, run: Run) -> None:
        """`run` was overwritten; without any the tokens cannot be found."""
        self.runs.remove(run)
        if not self.runs and self.parent is not None:
            del self.parent.children[bytes(self.key[: self.width])]


class Run:
    """The blocks of one node in memory, and its place among the idle ones when nobody uses it."""

    __slots__ = ("newer", "node", "older", "upper", "users")

    def __init__(self, node: Node, users: int) -> None:
        self.node = node
        self.users = users
        """Sequences that hold it."""
        self.upper: Run | None = None
        """What was split off above it: who held this run before holds that one too."""
        self.older = self.newer = self

    def split(self, node: Node) -> Run:
        """The part that goes to `node`, the upper half; when idle it goes right after the rest."""
        part = Run(node, self.users)
        part.upper, self.upper = self.upper, part
        if not self.users:
            part.enqueue(self.newer)
        return part

    def enqueue(self, before: Run) -> None:
        """Stand in the queue of idle runs right before `before`."""
        self.older, self.newer = before.older, before
        before.older.newer = before.older = self

    def dequeue(self) -> None:
        """Leave the queue."""
        self.older.newer, self.newer.older = self.newer, self.older

    @property
    def private(self) -> bool:
        """Whether its only user may make it longer: nobody else has these tokens or any after."""
        return self.users == 1 and len(self.node.runs) == 1 and not self.node.children
