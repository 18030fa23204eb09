"""vLLM's prefix cache: fixed blocks, chained hashes, freed blocks reused in LRU order.

Rules read in vLLM 0.33 (`v1/core/block_pool.py`): an idle block keeps its hash until it is taken;
the stamp is the moment its last user lets go; a sequence's tail goes before its head; unhashed
blocks go first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence


class BlockCache:
    """A pool of `blocks` KV blocks, each idle (perhaps still cached) or held by sequences."""

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks
        self.evicted = 0
        """Cached blocks overwritten so far."""
        self._refs = [0] * blocks
        self._hash: list[int | None] = [None] * blocks
        self._idle: OrderedDict[int, None] = OrderedDict.fromkeys(range(blocks))
        self._holders: dict[int, list[int]] = {}
        """Blocks that hold a hash; more than one when the same tokens were computed twice."""

    @property
    def free(self) -> int:
        """Blocks that no sequence holds."""
        return len(self._idle)

    def match(self, chain: Sequence[int], limit: int) -> list[int]:
        """The blocks that hold the longest prefix of `chain`, at most `limit`."""
        found: list[int] = []
        for key in chain[:limit]:
            holders = self._holders.get(key)
            if holders is None:
                break
            found.append(holders[0])
        return found

    def idle_among(self, blocks: Iterable[int]) -> int:
        """How many of `blocks` count as free until they are held."""
        return sum(not self._refs[block] for block in blocks)

    def hold(self, blocks: Iterable[int]) -> None:
        """One more sequence uses each of `blocks`."""
        for block in blocks:
            if not self._refs[block]:
                del self._idle[block]
            self._refs[block] += 1

    def take(self, count: int) -> list[int]:
        """Overwrite the `count` blocks idle longest; KeyError when there are fewer."""
        return [self._take_one() for _ in range(count)]

    def publish(self, block: int, key: int) -> None:
        """From now on `block` is found under `key`."""
        if self._hash[block] is None:
            self._hash[block] = key
            self._holders.setdefault(key, []).append(block)

    def release(self, blocks: Sequence[int]) -> None:
        """One sequence fewer uses each of `blocks`, given head first."""
        for block in reversed(blocks):
            self._refs[block] -= 1
            if not self._refs[block]:
                self._idle[block] = None
                if self._hash[block] is None:
                    self._idle.move_to_end(block, last=False)

    def flush(self) -> None:
        """Forget every hash."""
        self._hash = [None] * self.blocks
        self._holders.clear()

    def _take_one(self) -> int:
        block, _ = self._idle.popitem(last=False)
        self._refs[block] = 1
        key = self._hash[block]
        if key is not None:
            self._forget(block, key)
        return block

    def _forget(self, block: int, key: int) -> None:
        self.evicted += 1
        self._hash[block] = None
        holders = self._holders[key]
        holders.remove(block)
        if not holders:
            del self._holders[key]
