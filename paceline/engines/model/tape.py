"""Token ids as bytes, so that prefixes are compared, hashed and cut at C speed."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from xxhash import xxh3_64_intdigest

TOKEN_BYTES = 4
"""Bytes of one id: ids are below 2**32 (`array("I")`)."""


def encode(ids: Sequence[int]) -> bytes:
    """The ids one after the other; OverflowError when one is negative or 2**32 or more."""
    return array("I", ids).tobytes()


def extend_chain(chain: list[int], tape: bytes, block_size: int, blocks: int) -> None:
    """Grow `chain` to `blocks` keys, each the hash of its block seeded with the key before it."""
    width = block_size * TOKEN_BYTES
    key = chain[-1] if chain else 0
    for at in range(len(chain) * width, blocks * width, width):
        key = xxh3_64_intdigest(tape[at : at + width], key)
        chain.append(key)
