"""vLLM's block cache: who is found, who is overwritten first."""

import pytest

from paceline.engines.model.block_cache import BlockCache


def publish(cache: BlockCache, *keys: int) -> list[int]:
    """Take a block for every key and publish it."""
    blocks = cache.take(len(keys))
    for block, key in zip(blocks, keys, strict=True):
        cache.publish(block, key)
    return blocks


def test_match_stops_at_the_first_gap() -> None:
    """A prefix is found up to its first missing block, and up to the limit."""
    cache = BlockCache(8)
    blocks = publish(cache, 1, 2, 3)
    assert cache.match([1, 2, 3], limit=3) == blocks
    assert cache.match([1, 2, 3], limit=2) == blocks[:2]
    assert cache.match([1, 9, 3], limit=3) == blocks[:1]


def test_the_tail_goes_before_the_head() -> None:
    """Of one released sequence, the last block is overwritten first."""
    cache = BlockCache(3)
    cache.release(publish(cache, 1, 2, 3))
    cache.take(1)
    assert len(cache.match([1, 2, 3], limit=3)) == 2


def test_the_stamp_is_the_last_release() -> None:
    """A prefix used again after another one outlives it."""
    cache = BlockCache(2)
    first = publish(cache, 1)
    second = publish(cache, 2)
    cache.release(first)
    cache.release(second)
    cache.hold(first)
    cache.release(first)
    cache.take(1)
    assert cache.match([1], limit=1) == first
    assert cache.match([2], limit=1) == []


def test_unhashed_blocks_go_first() -> None:
    """A block that nobody can find again is overwritten before any cached one."""
    cache = BlockCache(2)
    cached = publish(cache, 1)
    partial = cache.take(1)
    cache.release(cached)
    cache.release(partial)
    assert cache.take(1) == partial


def test_held_blocks_are_not_free() -> None:
    """A block is free again when its last user lets go."""
    cache = BlockCache(4)
    blocks = publish(cache, 1)
    cache.hold(blocks)
    cache.release(blocks)
    assert (cache.free, cache.idle_among(blocks)) == (3, 0)
    cache.release(blocks)
    assert (cache.free, cache.idle_among(blocks)) == (4, 1)


def test_a_twin_takes_over() -> None:
    """When one of two blocks with the same tokens is overwritten, the other is found."""
    cache = BlockCache(2)
    first, second = publish(cache, 1), publish(cache, 1)
    cache.release(first)
    cache.take(1)
    assert cache.match([1], limit=1) == second
    assert cache.evicted == 1


def test_nothing_left_to_take() -> None:
    """Taking more than is free is an error of the caller."""
    cache = BlockCache(1)
    cache.take(1)
    with pytest.raises(KeyError):
        cache.take(1)
