"""SGLang's own scheduling policies: how each sorts the waiting queue before every admission pass.

Keys, thresholds and the fall-back as in SGLang 0.5.23 (`schedule_policy.py`); sorts are stable and
in place, so that the order of one pass is the starting point of the next.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from paceline.engines.model.kv_room import SglangSequence
from paceline.engines.model.radix_cache import Node, RadixCache

Waiting = list[SglangSequence]
Order = Callable[[Waiting, RadixCache, int], None]
"""Sorts the queue; the tree is the engine's, the number counts the tokens processed so far."""

FCFS_ABOVE = 128
"""lpm and hrrn leave a longer queue as it is; fcfs refreshes the prefixes of that many."""
CHECK_THRESHOLD = 32
"""Only a sequence with at most so many cached tokens is compared with its queue neighbours."""
DEPRIORITIZE_THRESHOLD = 32
"""It goes last when it shares at least so many with one of them."""
REFRESH_PASSES = 32


def make_order(policy: str, priority: bool, seed: int, *, refreshes: bool = True) -> Order:
    """The order of `policy`; ValueError for one that SGLang lacks or that excludes priorities.

    `refreshes`: whether fcfs keeps the prefixes of the queue's front from eviction.
    """
    if priority and policy != "fcfs":
        raise ValueError("priority scheduling needs fcfs")
    orders: dict[str, Order] = {
        "fcfs": by_priority if priority else Fcfs() if refreshes else as_they_came,
        "lpm": lpm,
        "hrrn": hrrn,
        "dfs-weight": dfs_weight,
        "random": Shuffle(seed),
    }
    if policy not in orders:
        raise ValueError(f"SGLang has no policy {policy}")
    return orders[policy]


def as_they_came(waiting: Waiting, tree: RadixCache, processed: int) -> None:
    """Leave the queue as it is."""


class Fcfs:
    """As they came; keeps the prefixes of the queue's front from eviction, head last."""

    def __init__(self) -> None:
        self._passes = 0

    def __call__(self, waiting: Waiting, tree: RadixCache, processed: int) -> None:
        self._passes += 1
        if self._passes % REFRESH_PASSES == 0:
            for sequence in reversed(waiting[:FCFS_ABOVE]):
                matched(sequence, tree)


class Shuffle:
    """Another order every pass."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def __call__(self, waiting: Waiting, tree: RadixCache, processed: int) -> None:
        self._random.shuffle(waiting)


def by_priority(waiting: Waiting, tree: RadixCache, processed: int) -> None:
    """Highest priority first, then as they came."""
    waiting.sort(key=lambda s: (-s.priority, s.arrival))


def lpm(waiting: Waiting, tree: RadixCache, processed: int) -> None:
    """Longest cached prefix first; those that share an uncached one with a neighbour last."""
    if len(waiting) > FCFS_ABOVE:
        return
    lengths, late = _matches(waiting, tree)
    waiting.sort(key=lambda s: (s in late, -lengths[s]))


def hrrn(waiting: Waiting, tree: RadixCache, processed: int) -> None:
    """Highest response ratio first: tokens processed since arrival over uncached tokens."""
    if len(waiting) > FCFS_ABOVE:
        return
    lengths, late = _matches(waiting, tree)

    def key(sequence: SglangSequence) -> tuple[bool, float]:
        uncached = sequence.known - lengths[sequence]
        return sequence in late, -(processed - sequence.born) / uncached

    waiting.sort(key=key)


def dfs_weight(waiting: Waiting, tree: RadixCache, processed: int) -> None:
    """Depth first through the tree, the child with most waiting first, a node's own after them."""
    own: dict[Node, Waiting] = {}
    for sequence in waiting:
        own.setdefault(tree.match(sequence.tape, sequence.known - 1)[0], []).append(sequence)
    weight: dict[Node, int] = {}
    for leaf, sequences in own.items():
        node: Node | None = leaf
        while node is not None:
            weight[node] = weight.get(node, 0) + len(sequences)
            node = node.parent
    waiting[:] = _depth_first(tree.root, own, weight)


def _depth_first(root: Node, own: dict[Node, Waiting], weight: dict[Node, int]) -> Waiting:
    """Reversed preorder with the lightest child first is postorder with the heaviest first."""
    order: Waiting = []
    stack = [root]
    while stack:
        node = stack.pop()
        order += reversed(own.get(node, ()))
        children = [child for child in node.children.values() if child in weight]
        children.sort(key=lambda child: weight[child], reverse=True)
        stack += children
    order.reverse()
    return order


def matched(sequence: SglangSequence, tree: RadixCache) -> int:
    """Tokens of `sequence` in the tree, whose age is thereby renewed."""
    return tree.match(sequence.tape, sequence.known - 1)[1]


def _matches(
    waiting: Waiting, tree: RadixCache
) -> tuple[dict[SglangSequence, int], set[SglangSequence]]:
    """Cached tokens of each, and who is better served after a neighbour with the same prefix."""
    lengths = {sequence: matched(sequence, tree) for sequence in waiting}
    neighbours = RadixCache()
    late = set()
    for sequence, length in lengths.items():
        if length > CHECK_THRESHOLD:
            continue
        if matched(sequence, neighbours) >= DEPRIORITIZE_THRESHOLD:
            late.add(sequence)
        else:
            neighbours.insert(sequence.tape, sequence.known)
    return lengths, late
