"""KV events of both engines add up to the scheduler's blocks."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.engines.api import ids_root, parse
from paceline.engines.kv_events import AllBlocksCleared, BlockRemoved, BlockStored, Mirror, decode

SEED = b"0123456789abcdef"
BASE = 16
IDS = list(range(1000))


def mirror(*adapters: str) -> Mirror:
    roots: dict[str | None, bytes] = {name: ids_root(SEED, name) for name in adapters}
    return Mirror(roots | {None: ids_root(SEED, "m")}, BASE)


def keys(ids: list[int], model: str = "m") -> tuple[int, ...]:
    """The block keys of a request for these ids."""
    body = msgspec.json.encode({"model": model, "prompt": ids})
    call = msgspec.structs.replace(parse("/v1/completions", body), base=4 * BASE)
    return call.to_request(id="r", arrived_at=0.0, seed=SEED).prefix


def stored(ids: list[int], size: int, start: int = 0, **more: Any) -> BlockStored:
    """The blocks of a prompt from `start` on, as an engine with blocks of `size` stores them."""
    ends = range(start + size, len(ids) + 1, size)
    parent = hash(tuple(ids[:start])) if start else None
    return BlockStored(
        block_hashes=[hash(tuple(ids[:end])) for end in ends],
        token_ids=ids[start : ends[-1]],
        block_size=size,
        parent_block_hash=parent,
        **more,
    )


def removed(ids: list[int], *ends: int) -> BlockRemoved:
    return BlockRemoved(block_hashes=[hash(tuple(ids[:end])) for end in ends])


@pytest.mark.parametrize("size", [1, 16, 32, 48, 64])
def test_blocks_of_any_size_give_the_prompts_keys(size: int) -> None:
    """A page of one token, or blocks larger than ours."""
    ids = IDS[: 960 // size * size]
    change = mirror().apply([stored(ids, size)])
    assert change.stored == keys(ids)
    assert change.removed == ()


def test_an_answer_goes_on_where_its_prompt_ended() -> None:
    """Decoding stores block after block, each behind its parent."""
    follow = mirror()
    found: tuple[int, ...] = ()
    for end in range(16, 1001, 16):
        found += follow.apply([stored(IDS[:end], 16, end - 16)]).stored
    assert found == keys(IDS)
    assert len(follow) == 62


def test_what_is_removed_was_stored() -> None:
    """By the keys that end in the block; what was never heard of is nothing."""
    follow = mirror()
    follow.apply([stored(IDS[:64], 16)])
    change = follow.apply([removed(IDS, 64, 48, 999)])
    assert set(change.removed) == set(keys(IDS[:64])[2:])
    assert follow.apply([stored(IDS[:48], 16, 32)]).stored == keys(IDS[:48])[2:]


def test_a_block_in_two_copies_stays_until_both_are_gone() -> None:
    """vLLM computes the last block of a prompt again; SGLang keeps some in host memory."""
    follow = mirror()
    follow.apply([stored(IDS[:32], 16), stored(IDS[:32], 16, 16)])
    assert follow.apply([removed(IDS, 32)]).removed == ()
    assert follow.apply([removed(IDS, 32)]).removed == keys(IDS[:32])[1:]


def test_what_comes_and_goes_at_once_does_not_show() -> None:
    """One step may evict what it stored, and store what it evicted."""
    follow = mirror()
    assert follow.apply([stored(IDS[:16], 16), removed(IDS, 16)]).stored == ()
    follow.apply([stored(IDS[:16], 16)])
    change = follow.apply([removed(IDS, 16), stored(IDS[:16], 16)])
    assert (change.stored, change.removed) == ((), ())


def test_blocks_behind_an_unknown_one_have_no_keys() -> None:
    """Nobody knows which prompt they are of; they still come and go."""
    follow = mirror()
    change = follow.apply([stored(IDS[:64], 16, 32), stored(IDS[:96], 16, 64)])
    assert change.stored == ()
    assert len(follow) == 4
    assert follow.apply([removed(IDS, 64)]).removed == ()
    assert len(follow) == 3


@pytest.mark.parametrize(
    "more",
    [
        {"cache_salt": "s"},
        {"extra_keys": [["s"], None]},
        {"extra_keys": [[["image", 0]], None]},
        {"lora_name": "stranger"},
        {"group_idx": 1},
        {"token_ids": IDS[:31]},
    ],
)
def test_blocks_that_tokens_alone_do_not_find_have_no_keys(more: Any) -> None:
    """Salts, media, adapters without a tokenizer, other kinds of attention."""
    event = msgspec.structs.replace(stored(IDS[:32], 16), **more)
    assert mirror().apply([event]).stored == ()


@pytest.mark.parametrize("id", [-1, 2**32])
def test_token_ids_have_32_bits(id: int) -> None:
    """A message with others is not understood."""
    batch = [0.0, [msgspec.structs.replace(stored(IDS[:16], 16), token_ids=[id] * 16)], None]
    with pytest.raises(msgspec.ValidationError):
        decode(msgspec.msgpack.encode(batch))


def test_an_adapter_has_keys_of_its_own() -> None:
    """Its name is a model's name in requests; vLLM repeats it with each block."""
    follow = mirror("lora")
    event = stored(IDS[:32], 16, lora_name="lora", extra_keys=[["lora"], ["lora"]])
    assert follow.apply([event, AllBlocksCleared()]).stored == keys(IDS[:32], "lora")


VLLM = [1.5, [{"type": "BlockStored", "block_hashes": [1, b"x" * 32], "parent_block_hash": None,
               "token_ids": [5, 6], "block_size": 1, "lora_id": None, "medium": "GPU",
               "lora_name": None, "extra_keys": [None, None], "group_idx": 0,
               "kv_cache_spec_kind": "full_attention"},
              {"type": "BlockRemoved", "block_hashes": [1], "medium": "GPU", "group_idx": 0},
              {"type": "AllBlocksCleared"}], 0]  # fmt: skip
SGLANG = [1.5, [{"type": "BlockStored", "block_hashes": [-1], "parent_block_hash": -7,
                 "token_ids": [5], "block_size": 1, "lora_id": None, "medium": "CPU_PINNED"},
                {"type": "BlockRemoved", "block_hashes": [-1]}], None]  # fmt: skip


@pytest.mark.parametrize("batch", [VLLM, SGLANG, VLLM[:2]])
def test_both_engines_are_understood(batch: Any) -> None:
    """The shapes of vLLM 0.32 and SGLang 0.5.23."""
    events = decode(msgspec.msgpack.encode(batch)).events
    assert [type(event).__name__ for event in events] == [event["type"] for event in batch[1]]


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 12), st.booleans()), max_size=40),
    st.sampled_from([4, 16, 32]),
)
def test_the_mirror_is_what_is_left(story: list[tuple[int, int, bool]], size: int) -> None:
    """Prompts of three families grow and shrink: the keys are those of what is there."""
    follow = mirror()
    families = [[family, *range(800)] for family in range(3)]
    lengths = [0, 0, 0]
    held: set[int] = set()
    for family, blocks, grow in story:
        ids, before = families[family], lengths[family]
        after = min(before + blocks, 24) if grow else max(before - blocks, 0)
        if after > before:
            change = follow.apply([stored(ids[: after * size], size, before * size)])
        else:
            ends = range(before * size, after * size, -size)
            change = follow.apply([removed(ids, *ends)])
        lengths[family] = after
        held = held - set(change.removed) | set(change.stored)
    expected = {
        key
        for ids, n in zip(families, lengths, strict=True)
        for key in keys(ids[: n * size] or [9])
    }
    assert held == expected
    assert len(follow) == sum(lengths)
