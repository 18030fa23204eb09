"""Answers stay cached with their prompts, and what engines report corrects what is believed."""

from __future__ import annotations

import pytest

from paceline.scheduler.entry import Entries, Entry
from paceline.scheduler.events import Finished
from paceline.scheduler.reference_trie import ReferenceTrie
from paceline.scheduler.trie import PrefixTrie
from paceline.scheduler.types import Usage
from tests.scheduler.dialogue import Talk, backend
from tests.scheduler.test_residency import Pool

TWO = (backend("a"), backend("b"))


def test_a_report_in_another_measure() -> None:
    """The first prompt's tokens were thought larger: a later one finds all its blocks, which are
    fewer tokens than was believed, and nothing is forgotten."""
    talk = Talk(backend(kv_tokens=10_000, chunk_tokens=9000))
    assert talk.arrive("a", "abc", block_tokens=400.0, prompt_tokens=1210) == "a->b"
    talk.finish("a", 1.0)
    assert talk.arrive("b", "abc", at=2.0) == "b->b"
    assert talk.dispatches["b"].cached_tokens == 1200
    talk.finish("b", 3.0, cached=300)
    assert talk.arrive("c", "abc", at=4.0) == "c->b"
    assert talk.dispatches["c"].cached_tokens == 1200


def test_the_next_turn_finds_its_answer() -> None:
    """It goes where the conversation was held, and the answer counts as cached."""
    talk = Talk(*TWO)
    assert talk.arrive("t1", "xy", 0.0) == "t1->a"
    assert talk.arrive("other", "q", 0.1) == "other->b"
    talk.finish("other", 1.0)
    talk.finish("t1", 1.0, output=190, answered="xyzw")
    assert talk.arrive("t2", "xyzwv", 2.0) == "t2->a"
    assert talk.dispatches["t2"].cached_tokens == 400


def test_an_unknown_answer_leaves_the_prompt() -> None:
    """Without its blocks only the prompt is matched, as ever."""
    talk = Talk(*TWO)
    talk.arrive("t1", "xy", 0.0)
    talk.finish("t1", 1.0, output=190)
    talk.arrive("t2", "xyzwv", 2.0)
    assert talk.dispatches["t2"].cached_tokens == 200


def test_a_short_answer_fills_no_block() -> None:
    """Its keys are then those of the prompt."""
    talk = Talk(*TWO)
    talk.arrive("t1", "xy", 0.0)
    talk.finish("t1", 1.0, answered="xy")
    talk.arrive("t2", "xyz", 2.0)
    assert talk.dispatches["t2"].cached_tokens == 200


def test_a_prompt_without_a_block_can_have_an_answer_with_some() -> None:
    """The answer alone is long enough."""
    talk = Talk(*TWO)
    talk.arrive("t1", "", 0.0)
    talk.finish("t1", 1.0, output=290, answered="xyz")
    talk.arrive("t2", "xyzw", 2.0)
    assert talk.dispatches["t2"].cached_tokens == 300


@pytest.mark.parametrize("trie", [PrefixTrie, ReferenceTrie])
def test_an_answer_takes_its_tokens_once(trie: type[PrefixTrie]) -> None:
    """Whether it is in blocks or not, the pool is as full; it leaves as it came."""
    pool = Pool(capacity=700, trie=trie())
    pool.land("xy", 10, 190, "xyzw")
    pool.land("q", 10, 190)
    assert (pool.see("xyzw"), pool.see("q")) == (400, 100)
    pool.land("r", 10, 0)
    assert (pool.see("xyzw"), pool.see("q"), pool.see("r")) == (0, 100, 100)
    pool.cache.forget()
    assert pool.trie.nodes == 0


def test_two_conversations_share_what_they_share() -> None:
    """One answer given twice is one; where they part, both go on."""
    pool = Pool(capacity=None)
    pool.land("xy", 10, 190, "xyzw")
    pool.land("xy", 10, 190, "xyzv")
    assert (pool.see("xyzw"), pool.see("xyzv"), pool.see("xyq")) == (400, 400, 200)
    pool.cache.forget()
    assert pool.trie.nodes == 0


def test_waiting_requests_hear_of_an_answer() -> None:
    """The next turn may wait already, as when the client sent it to another proxy."""
    pool = Pool()
    waiting = pool.enter("xyz")
    pool.land("xy", 10, 110, "xyz")
    assert waiting.match == {"b": 300}


def long(tail: str = "") -> str:
    return "abcdefgh" + tail


def warm(*tails: str) -> Talk:
    """A large backend on which prompts that share 800 tokens have ended."""
    talk = Talk(backend(kv_tokens=100_000, chunk_tokens=9000))
    for number, tail in enumerate(tails):
        talk.arrive(f"old{number}", long(tail), 0.0)
    for number in range(len(tails)):
        talk.finish(f"old{number}", 1.0)
    return talk


def matched(talk: Talk, prefix: str, at: float) -> int:
    id = f"seen {prefix} {at}"
    talk.arrive(id, prefix, at)
    talk.finish(id, at)
    return talk.dispatches[id].cached_tokens


def test_a_miss_is_believed() -> None:
    """Nothing was cached: whatever went on behind the shared prefix is gone, its own stays."""
    talk = warm("rs", "tu")
    talk.arrive("new", long("v"), 2.0)
    assert talk.dispatches["new"].cached_tokens == 800
    talk.finish("new", 3.0, cached=0)
    assert matched(talk, long("v"), 4.0) == 900
    assert matched(talk, long("rs"), 4.1) == 800


def test_what_was_reported_stays() -> None:
    """Only what lies behind it is forgotten, to the block."""
    talk = warm("rs")
    talk.arrive("new", long(), 2.0)
    talk.finish("new", 3.0, cached=300)
    talk.arrive("fresh", "abcdex", 4.0)
    assert talk.dispatches["fresh"].cached_tokens == 500
    assert matched(talk, long("rs"), 5.0) == 800


def test_what_came_later_is_not_doubted() -> None:
    """Its own prefill put it there after the one that missed had been matched."""
    talk = warm("rs")
    talk.arrive("new", long("v"), 2.0)
    talk.arrive("later", long("tu"), 2.1)
    talk.finish("later", 3.0)
    talk.finish("new", 3.1, cached=0)
    assert matched(talk, long("tu"), 4.0) == 1000
    assert matched(talk, long("rs"), 4.1) == 800


@pytest.mark.parametrize("cached", [None, 600, 800, 900])
def test_a_report_that_is_none_or_near_changes_nothing(cached: int | None) -> None:
    """Engines that do not report, and those whose blocks or tokens differ a little."""
    talk = warm("rs")
    talk.arrive("new", long("v"), 2.0)
    talk.finish("new", 3.0, cached=cached)
    assert matched(talk, long("rs"), 4.0) == 1000


def test_reports_are_in_true_tokens() -> None:
    """A prompt that has twice the tokens we thought has twice of them cached."""
    talk = warm("rs")
    talk.arrive("new", long("v"), 2.0)
    usage = Usage(prompt_tokens=1820, output_tokens=20, cached_tokens=700)
    talk.say(Finished("new", usage), 3.0)
    assert matched(talk, long("rs"), 4.0) == 1000 - 200


def test_a_miss_forgets_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of relatives would keep everybody waiting: the next miss tells of the rest."""
    monkeypatch.setattr("paceline.scheduler.residency.MISSED", 1)
    talk = warm("rs", "tu")
    talk.arrive("new", long("v"), 2.0)
    talk.finish("new", 3.0, cached=0)
    assert matched(talk, long("tu"), 4.0) == 1000
    assert matched(talk, long("rs"), 4.1) == 800


def miss(pool: Pool, entry: Entry, believed: int, cached: int) -> Entries:
    entry.cached = believed
    return pool.cache.missed(entry, Usage(cached_tokens=cached))


def test_the_waiting_hear_of_a_miss() -> None:
    """Their match falls back to what the one that missed has there itself."""
    pool = Pool(capacity=None)
    pool.land(long("rs"), 10, 20)
    waiting = pool.enter(long("rst"))
    new = pool.launch(long("v"))
    assert miss(pool, new, 800, 600) == {}
    assert waiting.match == {"b": 1000}
    assert miss(pool, new, 800, 500) == {waiting: None}
    assert waiting.match == {"b": 800}
    assert pool.cache.missed(new, Usage()) == {}


def test_who_lost_a_part_can_lose_the_rest() -> None:
    """By another miss, or when the pool is needed for others; the books balance."""
    pool = Pool(capacity=None)
    for tail in "rs":
        pool.land(long(tail), 10, 20)
    new = pool.launch(long("v"))
    miss(pool, new, 800, 300)
    assert pool.cache.recent == 2
    other = pool.launch("abcdq")
    miss(pool, other, 400, 0)
    assert pool.cache.recent == 2
    for entry in (new, other):
        pool.cache.land(entry, 20)
    pool.cache.forget()
    assert pool.trie.nodes == 0


def test_who_lost_everything_is_gone() -> None:
    """With long blocks, nothing is within the slack."""
    pool = Pool(capacity=None)
    pool.cache.land(pool.launch(long("rs"), block_tokens=300.0), 20)
    new = pool.launch(long("v"), block_tokens=300.0)
    miss(pool, new, 2000, 0)
    assert pool.cache.recent == 0
