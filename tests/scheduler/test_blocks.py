"""Blocks: equal beginnings give equal keys, and long prompts few of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from paceline.scheduler.blocks import BLOCK_BYTES, BOUNDS, MAX_BLOCKS, RUN, chain, cut


def test_only_full_blocks() -> None:
    """A partial last block is nobody's prefix."""
    assert cut(b"x" * (BLOCK_BYTES - 1)) == []
    assert cut(b"x" * (2 * BLOCK_BYTES + 1)) == [b"x" * BLOCK_BYTES] * 2


def test_blocks_grow() -> None:
    """After each run of blocks their size doubles, so depth grows with the logarithm."""
    sizes = [len(piece) for piece in cut(b"x" * BLOCK_BYTES * BOUNDS[2 * RUN])]
    assert sizes == [512] * RUN + [1024] * RUN + [2048]
    assert len(cut(b"x" * 400_000)) < 160


def test_depth_is_capped() -> None:
    """What lies beyond the deepest block is left out."""
    assert len(cut(b"x" * 100, base=1)) == len([b for b in BOUNDS if b <= 100])
    assert len(cut(bytes(BOUNDS[-1] + 5), base=1)) == MAX_BLOCKS


@given(st.binary(max_size=90), st.binary(max_size=60), st.binary(max_size=60))
def test_keys_name_the_whole_prefix(shared: bytes, one: bytes, other: bytes) -> None:
    """Keys agree exactly as far as the blocks do."""
    first = chain(b"s", cut(shared + one, base=7))
    second = chain(b"s", cut(shared + other, base=7))
    same = 0
    for ours, theirs in zip(cut(shared + one, base=7), cut(shared + other, base=7), strict=False):
        if ours != theirs:
            break
        same += 1
    assert first[:same] == second[:same]
    assert not set(first[same:]) & set(second[same:])


def test_seed_separates() -> None:
    """Another seed, another model or tenant, shares nothing."""
    assert not set(chain(b"a", [b"x", b"y"])) & set(chain(b"b", [b"x", b"y"]))
