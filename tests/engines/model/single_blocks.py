"""vLLM's block pool, block by block as in its source: what the fast model must equal."""

from __future__ import annotations

from collections import OrderedDict


class SingleBlocks:
    """A pool of `blocks`; keys are the ids of all tokens up to a block's end."""

    def __init__(self, blocks: int, block_size: int) -> None:
        self.evicted = 0
        self._size = block_size
        self._users = [0] * blocks
        self._key: list[tuple[int, ...] | None] = [None] * blocks
        self._idle: OrderedDict[int, None] = OrderedDict.fromkeys(range(blocks))
        self._holders: dict[tuple[int, ...], list[int]] = {}

    @property
    def free(self) -> int:
        """Blocks that nobody holds."""
        return len(self._idle)

    def match(self, ids: tuple[int, ...], limit: int) -> list[int]:
        """The blocks with the longest cached prefix of `ids`, at most `limit`."""
        found = []
        for end in range(self._size, limit * self._size + 1, self._size):
            holders = self._holders.get(ids[:end])
            if holders is None:
                break
            found.append(holders[0])
        return found

    def idle_among(self, blocks: list[int]) -> int:
        """How many of `blocks` nobody holds."""
        return sum(not self._users[block] for block in blocks)

    def hold(self, blocks: list[int]) -> None:
        """One more sequence uses each of `blocks`."""
        for block in blocks:
            if not self._users[block]:
                del self._idle[block]
            self._users[block] += 1

    def take(self, count: int) -> list[int]:
        """Overwrite the `count` blocks idle longest."""
        return [self._take() for _ in range(count)]

    def publish(self, block: int, key: tuple[int, ...]) -> None:
        """From now on `block` is found under `key`."""
        self._key[block] = key
        self._holders.setdefault(key, []).append(block)

    def release(self, blocks: list[int]) -> None:
        """One sequence fewer uses each of `blocks`, given head first."""
        for block in reversed(blocks):
            self._users[block] -= 1
            if not self._users[block]:
                self._idle[block] = None
                if self._key[block] is None:
                    self._idle.move_to_end(block, last=False)

    def _take(self) -> int:
        block, _ = self._idle.popitem(last=False)
        self._users[block] = 1
        key, self._key[block] = self._key[block], None
        if key is not None:
            self.evicted += 1
            self._holders[key].remove(block)
            if not self._holders[key]:
                del self._holders[key]
        return block
