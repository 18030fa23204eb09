"""vLLM's block cache: who is found, who is overwritten first."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.engines.model.block_cache import BlockCache, Lease
from paceline.engines.model.tape import encode
from tests.engines.model.single_blocks import SingleBlocks


def publish(cache: BlockCache, *ids: int) -> Lease:
    """Take a block of one token for every id and publish it."""
    lease = Lease()
    cache.take(lease, len(ids))
    cache.publish(lease, encode(ids), len(ids))
    return lease


def found(cache: BlockCache, *ids: int) -> int:
    """Blocks of these ids that are cached."""
    return cache.match(encode(ids), len(ids)).blocks


def test_match_stops_at_the_first_gap() -> None:
    """A prefix is found up to its first missing block, and up to the limit."""
    cache = BlockCache(8, 1)
    publish(cache, 1, 2, 3)
    assert found(cache, 1, 2, 3) == 3
    assert cache.match(encode([1, 2, 3]), 2).blocks == 2
    assert found(cache, 1, 9, 3) == 1
    assert found(cache, 9) == 0


def test_only_whole_blocks_are_found() -> None:
    """Two prompts share the blocks before the one in which they part."""
    cache = BlockCache(8, 4)
    lease = Lease()
    cache.take(lease, 3)
    cache.publish(lease, encode(range(12)), 3)
    assert cache.match(encode([*range(7), 99, 98, 97]), 2).blocks == 1


def test_the_tail_goes_before_the_head() -> None:
    """Of one released sequence, the last block is overwritten first."""
    cache = BlockCache(3, 1)
    cache.release(publish(cache, 1, 2, 3))
    cache.take(Lease(), 1)
    assert found(cache, 1, 2, 3) == 2


def test_the_stamp_is_the_last_release() -> None:
    """A prefix used again after another one outlives it."""
    cache = BlockCache(2, 1)
    first, second = publish(cache, 1), publish(cache, 2)
    cache.release(first)
    cache.release(second)
    cache.release(cache.hold(cache.match(encode([1]), 1)))
    cache.take(Lease(), 1)
    assert (found(cache, 1), found(cache, 2)) == (1, 0)


def test_blank_blocks_go_first() -> None:
    """A block that nobody can find again is overwritten before any cached one."""
    cache = BlockCache(2, 1)
    cached, partial = publish(cache, 1), Lease()
    cache.take(partial, 1)
    cache.release(cached)
    cache.release(partial)
    cache.take(Lease(), 1)
    assert (found(cache, 1), cache.evicted) == (1, 0)


def test_held_blocks_are_not_free() -> None:
    """A block is free again when its last user lets go."""
    cache = BlockCache(4, 1)
    first = publish(cache, 1)
    match = cache.match(encode([1]), 1)
    second = cache.hold(match)
    cache.release(first)
    assert (cache.free, match.idle) == (3, 0)
    cache.release(second)
    assert (cache.free, cache.match(encode([1]), 1).idle) == (4, 1)


def test_shared_blocks_are_counted() -> None:
    """Every holder of a block but its first adds one, until it lets go; a split changes nothing."""
    cache = BlockCache(8, 1)
    first = publish(cache, 1, 2, 3)
    second = cache.hold(cache.match(encode([1, 2, 9]), 3))
    third = cache.hold(cache.match(encode([1, 2, 3]), 3))
    assert cache.shared == 2 + 3
    cache.release(first)
    assert cache.shared == 2
    cache.release(third)
    cache.release(second)
    assert cache.shared == 0


def test_a_twin_takes_over() -> None:
    """When one of two blocks with the same tokens is overwritten, the other is found."""
    cache = BlockCache(2, 1)
    first = publish(cache, 1)
    publish(cache, 1)
    cache.release(first)
    cache.take(Lease(), 1)
    assert found(cache, 1) == 1
    assert cache.evicted == 1


def test_nothing_left_to_take() -> None:
    """Taking more than is free is an error of the caller."""
    cache = BlockCache(1, 1)
    cache.take(Lease(), 1)
    with pytest.raises(KeyError):
        cache.take(Lease(), 1)


def test_a_flush_forgets_everything() -> None:
    """All blocks are free and none is found."""
    cache = BlockCache(3, 1)
    cache.release(publish(cache, 1, 2))
    cache.flush()
    assert (cache.free, found(cache, 1)) == (3, 0)


@dataclass
class User:
    """A sequence in both models."""

    ids: tuple[int, ...]
    lease: Lease
    blocks: list[int]


IDS = st.lists(st.integers(0, 1), min_size=1, max_size=8).map(tuple)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), size=st.integers(1, 2), blocks=st.integers(3, 24))
def test_equal_to_single_blocks(data: st.DataObject, size: int, blocks: int) -> None:
    """Admitted, grown and released at random, with twins: hits, room and evictions are the same."""
    fast, slow = BlockCache(blocks, size), SingleBlocks(blocks, size)
    users: list[User] = []
    for _ in range(data.draw(st.integers(1, 30))):
        what = data.draw(st.sampled_from(["admit", "admit", "grow", "release"]))
        if what == "admit":
            ids = data.draw(IDS)
            limit = (len(ids) - 1) // size
            match, single = fast.match(encode(ids), limit), slow.match(ids, limit)
            assert (match.blocks, match.idle) == (len(single), slow.idle_among(single))
            slow.hold(single)
            users.append(User(ids, fast.hold(match), single))
            grow(fast, slow, users[-1], data.draw(st.integers(1, 8)), size)
        elif users and what == "grow":
            grow(fast, slow, data.draw(st.sampled_from(users)), 1, size)
        elif users:
            user = users.pop(data.draw(st.integers(0, len(users) - 1)))
            fast.release(user.lease)
            slow.release(user.blocks)
        assert (fast.free, fast.evicted) == (slow.free, slow.evicted)


def grow(fast: BlockCache, slow: SingleBlocks, user: User, count: int, size: int) -> None:
    """Give up to `count` more blocks; those that its ids fill are published, one stays blank."""
    full = len(user.ids) // size
    count = min(count, slow.free, full + 1 - len(user.blocks))
    if count < 1:
        return
    before = user.lease.known
    fast.take(user.lease, count)
    user.blocks += slow.take(count)
    known = min(full, len(user.blocks))
    fast.publish(user.lease, encode(user.ids), known)
    for at in range(before, known):
        slow.publish(user.blocks[at], user.ids[: (at + 1) * size])
