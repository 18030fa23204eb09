"""How a prompt is cut into blocks and each block's key made from the one before it.

Blocks double in size every `RUN` blocks, so that a 128k-token prompt has about 160 of them while
the match is never coarser than 1/32 of what precedes it. 512 characters a block is the knee of cost
against precision (95% of the exact match at a quarter of the cost of 128).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

from xxhash import xxh3_64_intdigest

from paceline.scheduler.types import Keys

BLOCK_BYTES = 512
"""UTF-8 bytes of canonical text in a base block."""
BLOCK_IDS = 128
"""Token ids in a base block: about as much text as `BLOCK_BYTES`."""
RUN = 32
MAX_BLOCKS = 256
"""Deepest path in the trie: 4 MB of text; a prompt's rest beyond it is not shared."""

BOUNDS: tuple[int, ...] = tuple(accumulate(1 << (i // RUN) for i in range(MAX_BLOCKS)))
"""BOUNDS[d] is where block d ends, in base blocks."""


def chain(seed: bytes, data: bytes, base: int = BLOCK_BYTES) -> Keys:
    """Keys of the full blocks of `data`, whose base block has `base` bytes."""
    return chain_on(xxh3_64_intdigest(seed), data, base)


def chain_on(key: int, data: bytes, base: int, depth: int = 0) -> Keys:
    """Keys of the full blocks of `data`, which follows `depth` blocks, the last with this key.

    Each is the hash of its block, seeded with the key before it. Long prompts are not copied.
    """
    size = len(data)
    if size < base:  # as many an answer is
        return ()
    pieces = data if size <= RUN * base else memoryview(data)
    keys = []
    for span in spans(size, base, depth):
        key = xxh3_64_intdigest(pieces[span], key)
        keys.append(key)
    return tuple(keys)


def spans(size: int, base: int, depth: int = 0) -> Sequence[slice]:
    """Where the full blocks are in `size` bytes that follow `depth` blocks."""
    before = BOUNDS[depth - 1] if depth else 0
    full = bisect_right(BOUNDS, before + size // base, depth)
    if not depth or full <= RUN:  # at the beginning, or all of one size
        return _spans(base)[: full - depth]
    ends = [(bound - before) * base for bound in BOUNDS[depth:full]]
    return list(map(slice, [0, *ends], ends))


@lru_cache(maxsize=16)
def _spans(base: int) -> tuple[slice, ...]:
    """Where the blocks of a prompt are; made once for each size of base block, one or a few."""
    ends = [bound * base for bound in BOUNDS]
    return tuple(map(slice, [0, *ends], ends))
