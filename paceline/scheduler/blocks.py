"""How a prompt is cut into blocks and each block's key made from the one before it.

Blocks double in size every `RUN` blocks, so that a 128k-token prompt has about 160 of them while
the match is never coarser than 1/32 of what precedes it. 512 characters a block is the knee of cost
against precision (95% of the exact match at a quarter of the cost of 128).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from xxhash import xxh3_64_intdigest

Piece = bytes | memoryview
"""One block's content."""

BLOCK_BYTES = 512
"""UTF-8 bytes of canonical text in a base block."""
BLOCK_IDS = 128
"""Token ids in a base block: about as much text as `BLOCK_BYTES`."""
RUN = 32
MAX_BLOCKS = 256
"""Deepest path in the trie: 4 MB of text; a prompt's rest beyond it is not shared."""

BOUNDS: tuple[int, ...] = tuple(accumulate(1 << (i // RUN) for i in range(MAX_BLOCKS)))
"""BOUNDS[d] is where block d ends, in base blocks."""


def chain(seed: bytes, pieces: Sequence[Piece]) -> tuple[int, ...]:
    """Keys of successive blocks: each is the hash of its block, seeded with the key before it."""
    return chain_on(xxh3_64_intdigest(seed), pieces)


def chain_on(key: int, pieces: Sequence[Piece]) -> tuple[int, ...]:
    """Keys of the blocks that follow the one with this key."""
    keys: list[int] = []
    for piece in pieces:
        key = xxh3_64_intdigest(piece, key)
        keys.append(key)
    return tuple(keys)


def cut(data: bytes, base: int = BLOCK_BYTES, depth: int = 0) -> Sequence[Piece]:
    """The full blocks of `data`, whose base block has `base` bytes; a partial one is left out.

    With `depth`, data begins behind so many blocks. Long prompts are not copied.
    """
    before = BOUNDS[depth - 1] if depth else 0
    full = bisect_right(BOUNDS, before + len(data) // base, depth)
    if full <= RUN:  # all of one size
        return [data[at : at + base] for at in range(0, (full - depth) * base, base)]
    ends = [(bound - before) * base for bound in BOUNDS[depth:full]]
    view = memoryview(data)
    return [view[start:end] for start, end in zip([0, *ends], ends, strict=False)]
