"""KV events of vLLM and SGLang: what they look like, and the cache that they add up to.

Both engines publish the same shapes (vllm/distributed/kv_events.py of 0.32, sglang/srt/
disaggregation/kv_events.py of 0.5.23): msgpack, a batch is an array, an event a map with its class
name as `type`. An engine's block hashes are its own; what a block means is in its token ids and its
parent, and from those come the keys that the scheduler knows.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from xxhash import xxh3_64_intdigest

from paceline.scheduler.blocks import BOUNDS, MAX_BLOCKS, chain_on

Hash = int | bytes
TokenId = Annotated[int, Meta(ge=0, lt=2**32)]
FIRST_GROUP = (None, 0)
"""Models with several kinds of attention have a group of blocks for each; one tells enough."""


class BlockStored(Struct, tag=True):
    """These blocks can be hit from now on."""

    block_hashes: list[Hash]
    token_ids: list[TokenId]
    block_size: int
    parent_block_hash: Hash | None = None
    lora_name: str | None = None
    extra_keys: list[list[Any] | None] | None = None
    """vLLM: adapter, media and salt of each block."""
    cache_salt: str | None = None
    """SGLang's."""
    group_idx: int | None = None


class BlockRemoved(Struct, tag=True):
    """One copy of each of these blocks is gone."""

    block_hashes: list[Hash]
    group_idx: int | None = None


class AllBlocksCleared(Struct, tag=True):
    """The cache is empty."""


Event = BlockStored | BlockRemoved | AllBlocksCleared


class Batch(Struct, array_like=True):
    """What one engine step did."""

    time: float
    events: list[Event]
    rank: int | None = None
    """Of the data-parallel engine."""


_batch = msgspec.msgpack.Decoder(Batch)


def decode(payload: bytes) -> Batch:
    """One message's payload; raises msgspec.DecodeError."""
    return _batch.decode(payload)


class Change(Struct):
    """What some events changed, in the scheduler's keys."""

    stored: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()


class _Block:
    """One of the engine's blocks; with its ancestors it is a prefix."""

    __slots__ = ("copies", "depth", "end", "ids", "key", "keys", "parent")

    def __init__(self, parent: _Block | None, ids: bytes, end: int, depth: int, key: int) -> None:
        self.parent = parent
        self.ids = ids
        self.end = end
        """Tokens up to its end."""
        self.depth = depth
        """How many of the scheduler's blocks end in it or before; -1 where that cannot be told."""
        self.key = key
        """Of the last of those."""
        self.keys: tuple[int, ...] = ()
        """Of those that end in it."""
        self.copies = 0
        """vLLM may compute a block twice, SGLang may keep it in host memory too."""


class Mirror:
    """One engine's cache, as its events tell."""

    def __init__(self, roots: Mapping[str | None, bytes], block_ids: int) -> None:
        """`roots`: where keys come from, by adapter (None without one); models that are not here
        are not followed. `block_ids`: tokens in a base block of the scheduler's."""
        self._roots = {
            name: _Block(None, b"", 0, 0, xxh3_64_intdigest(root)) for name, root in roots.items()
        }
        self._base = block_ids
        self._blocks: dict[Hash, _Block] = {}
        self._stored: dict[int, None] = {}
        self._removed: dict[int, None] = {}

    def __len__(self) -> int:
        """How many of its blocks the engine has."""
        return len(self._blocks)

    def apply(self, events: Iterable[Event]) -> Change:
        """Follow events that stored and removed; what comes and goes within them does not show."""
        self._stored, self._removed = {}, {}
        for event in events:
            if isinstance(event, AllBlocksCleared) or event.group_idx not in FIRST_GROUP:
                continue
            if isinstance(event, BlockStored):
                self._store(event)
            else:
                self._remove(event)
        return Change(tuple(self._stored), tuple(self._removed))

    def _store(self, event: BlockStored) -> None:
        ids = array("I", event.token_ids)
        if sys.byteorder == "big":
            ids.byteswap()
        data, width = ids.tobytes(), event.block_size * 4
        parent = self._parent(event)
        if len(data) != width * len(event.block_hashes):
            parent = None  # some blocks were left out: which ones is not said
        for index, hash in enumerate(event.block_hashes):
            block = self._blocks.get(hash)
            if block is None:
                piece = data[index * width : (index + 1) * width]
                known = parent is not None and not _salted(event, index)
                block = self._blocks[hash] = self._grow(parent if known else None, piece)
                for key in block.keys:
                    self._note(key, self._stored, self._removed)
            block.copies += 1
            parent = block

    def _parent(self, event: BlockStored) -> _Block | None:
        if event.parent_block_hash is None:
            return self._roots.get(event.lora_name)
        return self._blocks.get(event.parent_block_hash)

    def _grow(self, parent: _Block | None, ids: bytes) -> _Block:
        """The block behind `parent`; one that follows nothing known has no keys."""
        if parent is None or parent.depth < 0:
            return _Block(None, ids, 0, -1, 0)
        block = _Block(parent, ids, parent.end + len(ids) // 4, parent.depth, parent.key)
        keys = []
        while block.depth < MAX_BLOCKS and BOUNDS[block.depth] * self._base <= block.end:
            start = BOUNDS[block.depth - 1] * self._base if block.depth else 0
            piece = _span(block, start, BOUNDS[block.depth] * self._base)
            (block.key,) = chain_on(block.key, piece, self._base * 4, block.depth)
            block.depth += 1
            keys.append(block.key)
        block.keys = tuple(keys)
        return block

    def _remove(self, event: BlockRemoved) -> None:
        for hash in event.block_hashes:
            block = self._blocks.get(hash)
            if block is None:
                continue
            block.copies -= 1
            if not block.copies:
                del self._blocks[hash]
                for key in block.keys:
                    self._note(key, self._removed, self._stored)

    def _note(self, key: int, where: dict[int, None], instead: dict[int, None]) -> None:
        if key in instead:
            del instead[key]
        else:
            where[key] = None


def _salted(event: BlockStored, index: int) -> bool:
    """Whether media or a salt are part of the block: tokens alone do not find it."""
    if event.cache_salt is not None:
        return True
    extra = event.extra_keys[index] if event.extra_keys else None
    return any(key != event.lora_name for key in extra or ())


def _span(block: _Block, start: int, stop: int) -> bytes:
    """The ids of the tokens from `start` to `stop`, which lies in `block`."""
    pieces = [block.ids]
    first = block.end - len(block.ids) // 4
    while first > start:
        assert block.parent is not None
        block = block.parent
        pieces.append(block.ids)
        first -= len(block.ids) // 4
    return b"".join(reversed(pieces))[(start - first) * 4 : (stop - first) * 4]
