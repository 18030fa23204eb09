"""SGLang's rules, as dialogues."""

import pytest

from paceline.engines.model.engine import Step
from paceline.engines.model.sglang import SglangEngine
from tests.engines.model.dialogue import (
    add,
    ask,
    cached,
    config,
    drain,
    finished,
    outputs,
    prefills,
)


def engine(**fields: object) -> SglangEngine:
    """An idle SGLang."""
    return SglangEngine(config("sglang", **fields))


def step(sglang: SglangEngine, now: float) -> Step:
    """The next step, which there must be."""
    taken = sglang.step(now)
    assert taken is not None
    return taken


def test_a_repeated_prompt_is_cached_but_for_its_last_token() -> None:
    """With pages of one token the second identical prompt hits len - 1."""
    sglang = engine()
    add(sglang, ask("a", range(64)))
    drain(sglang)
    add(sglang, ask("b", range(64)))
    assert cached(drain(sglang)) == {"b": 63}


def test_whole_pages_only() -> None:
    """With larger pages a hit is rounded down to them."""
    sglang = engine(block_size=16)
    add(sglang, ask("a", range(64)))
    drain(sglang)
    add(sglang, ask("b", range(64)))
    assert cached(drain(sglang)) == {"b": 48}
    assert sglang.load().kv_used == 0


def test_siblings_in_one_batch_both_compute() -> None:
    """Siblings admitted together hit nothing, and only one copy is kept."""
    sglang = engine()
    add(sglang, ask("a", range(64), 3), ask("b", range(64), 3))
    assert step(sglang, 0.0).prefill_tokens == 128
    step(sglang, 1.0)
    assert sglang.load().kv_used == 64 + 2 * 2
    assert set(cached(drain(sglang, 2.0)).values()) == {0}


def test_publication_lags_by_two_batches() -> None:
    """A sibling composed while the leader's batch runs hits nothing; one composed after it does."""
    sglang = engine(chunk_tokens=64)
    add(sglang, *(ask(name, range(64)) for name in "abc"))
    assert cached(drain(sglang)) == {"a": 0, "b": 0, "c": 63}


def test_prefill_goes_before_decode() -> None:
    """While prompts can be admitted, nobody decodes; batches are never mixed."""
    sglang = engine(chunk_tokens=50)
    add(sglang, *(ask(name, range(i * 100, i * 100 + 50), 3) for i, name in enumerate("abc")))
    steps = drain(sglang)
    assert prefills(steps)[:4] == [50, 50, 50, 0]
    assert [taken.decodes for taken in steps[:4]] == [0, 0, 0, 3]


def test_one_request_at_a_time_is_chunked() -> None:
    """A chunk fills the batch; its rest goes first in the next, and the newcomer behind it."""
    sglang = engine(chunk_tokens=100)
    add(sglang, ask("a", range(250)), ask("b", range(500, 630)))
    assert prefills(drain(sglang))[:4] == [100, 100, 100, 80]


def test_chunks_are_published_early() -> None:
    """The part of a long prompt that is in the tree by the next schedule is hit by a sibling."""
    sglang = engine(chunk_tokens=100)
    add(sglang, ask("long", range(150)), ask("b", range(120)))
    assert cached(drain(sglang)) == {"long": 0, "b": 100}


def test_the_head_of_the_queue_blocks() -> None:
    """A small request behind one that does not fit waits, though it would fit."""
    sglang = engine(kv_tokens=200)
    add(sglang, ask("a", range(100), 3), ask("b", range(500, 650)), ask("c", range(900, 910)))
    assert step(sglang, 0.0).prefill_tokens == 100
    assert (sglang.load().running, sglang.load().waiting) == (1, 2)
    assert finished(drain(sglang, 1.0)) == ["a", "b", "c"]


def test_output_is_reserved_at_admission() -> None:
    """A request whose `max_tokens` does not fit beside the others waits, however short it is."""
    sglang = engine(kv_tokens=300)
    add(sglang, ask("a", range(50), 2, max_tokens=200), ask("b", range(500, 550), 2, max_tokens=90))
    assert step(sglang, 0.0).prefill_tokens == 50
    frugal = engine(kv_tokens=300)
    add(frugal, ask("a", range(50), 2), ask("b", range(500, 550), 2))
    assert step(frugal, 0.0).prefill_tokens == 100


@pytest.mark.parametrize(("release", "retried"), [("0.5.16", 6), ("0.5.23", 5)])
def test_admission_is_retried_only_after_somebody_left(release: str, retried: int) -> None:
    """A full batch takes nobody, not even one who would fit, until a sequence ends."""
    sglang = engine(kv_tokens=200, release=release)
    add(sglang, ask("a", range(100), 6), ask("big", range(500, 650)))
    step(sglang, 0.0)
    sglang.abort("big")
    add(sglang, ask("small", range(900, 905)))
    steps = drain(sglang, 1.0)
    assert [taken.prefill_tokens for taken in steps].index(5) == retried
    assert finished(steps) == ["a", "small"]


@pytest.mark.parametrize(
    ("release", "limit", "tokens"),
    [("0.5.16", 3, [1, 1, 1, 0]), ("0.5.23", 3, [1, 1, 1]), ("0.5.23", 9, [1, 1, 1, 0])],
)
def test_a_sequence_that_ended_decodes_once_more(
    release: str, limit: int, tokens: list[int]
) -> None:
    """An end is seen one step late and its last slot wasted, but one by length that is foreseen."""
    sglang = engine(release=release)
    add(sglang, ask("a", range(10), 3, max_tokens=limit))
    assert [len(taken.outputs) for taken in drain(sglang)] == tokens
    assert sglang.load().kv_used == 0


@pytest.mark.parametrize(("release", "second"), [("0.5.16", 4), ("0.5.23", 3)])
def test_who_waits_for_room_is_tried_when_an_end_is_noticed(release: str, second: int) -> None:
    """0.5.16 notices that somebody left when it composes a decode: one step later."""
    sglang = engine(kv_tokens=130, release=release)
    add(sglang, ask("a", range(50), 2), ask("b", range(500, 550), 9), ask("c", range(900, 950), 2))
    assert prefills(drain(sglang)).index(50, 1) == second


def test_a_chunk_opens_a_full_batch() -> None:
    """Who fits is admitted with the next chunk of another, though somebody was refused before."""
    sglang = engine(kv_tokens=500, chunk_tokens=100)
    add(sglang, ask("a", range(30), 60))
    for now in range(3):
        step(sglang, float(now))
    add(sglang, ask("b", range(500, 850), 9), ask("c", range(900, 1300), 9))
    for now in range(3, 5):
        step(sglang, float(now))
    sglang.abort("c")
    add(sglang, ask("d", range(2000, 2005)))
    assert prefills(drain(sglang, 5.0))[:4] == [100, 100, 55, 0]


def test_retraction_takes_who_made_least() -> None:
    """Without room to decode, the sequence with the fewest tokens starts over and still ends."""
    sglang = engine(kv_tokens=110)
    add(sglang, ask("a", range(10), 50))
    step(sglang, 0.0)
    add(sglang, ask("b", range(500, 510), 50))
    steps = drain(sglang, 1.0)
    assert sglang.load().preemptions == 1
    assert finished(steps) == ["a", "b"]
    made = [output.tokens for output in outputs(steps) if output.request_id == "b"]
    assert made == list(range(1, 51))
    assert sglang.load().kv_used == 0


def test_whole_leaves_are_evicted() -> None:
    """When one token is missing, all of the oldest prompt is gone."""
    sglang = engine(kv_tokens=250)
    add(sglang, ask("a", range(100)))
    drain(sglang)
    add(sglang, ask("b", range(500, 600)))
    drain(sglang)
    add(sglang, ask("c", range(700, 760)))
    drain(sglang)
    assert sglang.load().evicted_tokens == 100
    add(sglang, ask("a2", range(100)))
    assert cached(drain(sglang)) == {"a2": 0}


def test_choices_wait_for_their_prompt() -> None:
    """n choices start after the prompt was computed once; each then hits all but its last token."""
    sglang = engine()
    add(sglang, ask("a", range(40), 2, n=3))
    steps = drain(sglang)
    assert prefills(steps)[0] == 40
    assert sum(prefills(steps)) == 40 + 3
    assert {output.cached_tokens for output in outputs(steps)} == {39}
    assert sorted(output.index for output in outputs(steps) if output.finished) == [0, 1, 2]


@pytest.mark.parametrize("steps_before", [0, 1, 2, 5])
def test_abort_frees_at_once(steps_before: int) -> None:
    """Wherever it stands, an aborted request holds nothing afterwards and gives no token."""
    sglang = engine(kv_tokens=300, chunk_tokens=40)
    add(sglang, ask("a", range(100), 30), ask("b", range(500, 600), 30, n=2))
    for now in range(steps_before):
        step(sglang, float(now))
    assert sglang.abort("a")
    assert sglang.abort("b")
    assert (sglang.load().running, sglang.load().waiting, sglang.load().kv_used) == (0, 0, 0)
    assert outputs(drain(sglang, 9.0)) == []


def test_flush_forgets_unless_busy() -> None:
    """After a flush nothing is cached; while a request is here it is refused."""
    sglang = engine()
    add(sglang, ask("a", range(64)))
    assert not sglang.flush_cache()
    drain(sglang)
    assert sglang.flush_cache()
    add(sglang, ask("b", range(64)))
    assert cached(drain(sglang)) == {"b": 0}


def test_an_id_is_used_once_at_a_time() -> None:
    """A second request with the id of one that is here is refused."""
    sglang = engine()
    add(sglang, ask("a", range(64)))
    with pytest.raises(ValueError, match="here already"):
        add(sglang, ask("a", range(64)))
