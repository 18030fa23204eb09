"""Blocks: equal beginnings give equal keys, and long prompts few of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from paceline.scheduler.blocks import (
    BLOCK_BYTES,
    BOUNDS,
    MAX_BLOCKS,
    RUN,
    chain,
    chain_on,
    spans,
)


def sizes(size: int, base: int = BLOCK_BYTES, depth: int = 0) -> list[int]:
    """Bytes of each block, which follow one another."""
    found = spans(size, base, depth)
    assert [0, *(span.stop for span in found)][:-1] == [span.start for span in found]
    return [span.stop - span.start for span in found]


def test_only_full_blocks() -> None:
    """A partial last block is nobody's prefix."""
    assert sizes(BLOCK_BYTES - 1) == []
    assert sizes(2 * BLOCK_BYTES + 1) == [BLOCK_BYTES] * 2
    assert chain(b"s", b"x" * (BLOCK_BYTES - 1)) == ()


def test_blocks_grow() -> None:
    """After each run of blocks their size doubles, so depth grows with the logarithm."""
    assert sizes(BLOCK_BYTES * BOUNDS[2 * RUN]) == [512] * RUN + [1024] * RUN + [2048]
    assert len(chain(b"s", b"x" * 400_000)) < 160


def test_blocks_behind_others_are_as_large() -> None:
    """What follows some blocks is cut as the whole is, within a run or across its end."""
    assert sizes(40, base=10, depth=3) == [10] * 4
    assert sizes(75, base=10, depth=RUN - 2) == [10, 10, 20, 20]
    assert sizes(9, base=10, depth=RUN) == sizes(19, base=10, depth=RUN) == []


def test_depth_is_capped() -> None:
    """What lies beyond the deepest block is left out."""
    assert len(sizes(100, base=1)) == len([b for b in BOUNDS if b <= 100])
    assert len(sizes(BOUNDS[-1] + 5, base=1)) == MAX_BLOCKS
    assert sizes(BOUNDS[-1], base=1, depth=MAX_BLOCKS) == []


@given(st.binary(max_size=90), st.binary(max_size=60), st.binary(max_size=60))
def test_keys_name_the_whole_prefix(shared: bytes, one: bytes, other: bytes) -> None:
    """Keys agree exactly as far as the blocks do."""
    ours, theirs = shared + one, shared + other
    first, second = chain(b"s", ours, base=7), chain(b"s", theirs, base=7)
    same = 0
    while same < min(len(first), len(second)) and ours[: 7 * same + 7] == theirs[: 7 * same + 7]:
        same += 1
    assert first[:same] == second[:same]
    assert not set(first[same:]) & set(second[same:])


@given(st.binary(max_size=200), st.integers(1, 3), st.integers(0, 80))
def test_a_chain_goes_on(data: bytes, base: int, depth: int) -> None:
    """Whoever knows a block's key and what follows it comes to the same keys."""
    keys = chain(b"s", data, base)
    if 0 < depth <= len(keys):
        rest = data[BOUNDS[depth - 1] * base :]
        assert keys[:depth] + chain_on(keys[depth - 1], rest, base, depth) == keys


def test_seed_separates() -> None:
    """Another seed, another model or tenant, shares nothing."""
    assert not set(chain(b"a", b"xy", base=1)) & set(chain(b"b", b"xy", base=1))
