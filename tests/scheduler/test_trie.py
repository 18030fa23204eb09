"""The trie: nodes span what is shared, split where prompts part, and go with their last user."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.policies.lpm import Lpm
from paceline.scheduler.blocks import MAX_BLOCKS
from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.entry import Entry
from paceline.scheduler.events import (
    Action,
    Arrived,
    BackendChanged,
    Cancelled,
    Dispatch,
    Event,
    Failed,
    Finished,
    FirstByte,
)
from paceline.scheduler.reference_trie import ReferenceTrie
from paceline.scheduler.residency import Residency
from paceline.scheduler.scheduler import Scheduler
from paceline.scheduler.trie import PrefixTrie
from paceline.scheduler.types import Request, Usage
from tests.scheduler.dialogue import Talk, backend, keys, request


def enter(trie: PrefixTrie, prefix: str) -> Entry:
    entry = Entry(request("r", prefix), 0)
    trie.add(entry)
    trie.wait(entry)
    return entry


def test_a_node_spans_what_has_the_same_users() -> None:
    """One prompt is one node, however long; a second one splits it where they part."""
    trie = PrefixTrie()
    first = enter(trie, "abcdef")
    assert [node.end for node in first.nodes] == [600]
    second = enter(trie, "abcx")
    assert [node.end for node in first.nodes] == [300, 600]
    assert [node.end for node in second.nodes] == [300, 400]
    assert (trie.nodes, trie.blocks) == (3, 7)


@pytest.mark.parametrize("trie", [PrefixTrie, ReferenceTrie])
def test_a_path_can_be_cut_anywhere(trie: type[PrefixTrie]) -> None:
    """Between two nodes, within one, or behind them all."""
    made = trie()
    entry = enter(made, "abcdef")
    enter(made, "abc")
    ends = [entry.nodes[made.cut(entry, depth) - 1].end for depth in (3, 2, 5, 6, 99)]
    assert ends == [300, 200, 500, 600, 600]
    assert made.cut(entry, 0) == 0


def test_a_shorter_prompt_splits_too() -> None:
    """Where it ends, others go on."""
    trie = PrefixTrie()
    long = enter(trie, "abcd")
    short = enter(trie, "ab")
    assert [node.end for node in long.nodes] == [200, 400]
    assert short.nodes == long.nodes[:1]


def test_nodes_go_with_their_last_user() -> None:
    """Nothing is left over."""
    trie = PrefixTrie()
    entries = [enter(trie, prefix) for prefix in ("abcd", "abx", "ab", "")]
    for entry in entries:
        trie.leave(entry)
        trie.drop(entry)
    assert (trie.nodes, trie.blocks) == (0, 0)


def test_a_block_has_a_token_at_least() -> None:
    """However many bytes are taken for one."""
    trie = PrefixTrie()
    entry = Entry(Request(id="r", arrived_at=0.0, prefix=keys("abc"), block_tokens=0.1), 0)
    trie.add(entry)
    assert [(node.tokens, node.end) for node in entry.nodes] == [(3, 3)]


PREFIXES = ["", "a", "ab", "abc", "abcd", "abcx", "abcdef", "x", "xy", "xyzuvw", "xyq"]
ENDS = ["byte", "finish", "answer", "miss", "cancel", "retry"]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.sampled_from(PREFIXES)),
        st.tuples(st.sampled_from(ENDS), st.integers(0, 9)),
    ),
    max_size=60,
)


def tell(trie: PrefixTrie, story: list[tuple[str, str | int]], late: bool) -> list[list[Action]]:
    """What a scheduler with this trie answers to a story."""
    scheduler = Scheduler(SchedulerConfig(follower_min_tokens=100), Lpm(), trie=trie)
    spec = backend(leader_first=late, kv_tokens=1200)
    answers = [scheduler.handle(BackendChanged(spec), 0.0)]
    known: list[str] = []
    prompts: dict[str, str] = {}
    for number, (what, which) in enumerate(story):
        event: Event
        if isinstance(which, str):
            known.append(f"r{number}")
            prompts[f"r{number}"] = which
            event = Arrived(request(f"r{number}", which, at=number))
        elif known:
            id = known[which % len(known)]
            events: dict[str, Event] = {
                "byte": FirstByte(id),
                "finish": Finished(id, Usage(output_tokens=9)),
                "answer": Finished(id, Usage(output_tokens=150), keys(prompts[id] + "dx")),
                "miss": Finished(id, Usage(output_tokens=9, cached_tokens=0)),
            }
            event = (events | {"cancel": Cancelled(id), "retry": Failed(id, retry=True)})[what]
        else:
            continue
        answers.append(scheduler.handle(event, float(number)))
        matches = [(e.request.id, e.match) for e in scheduler._entries.values() if e.waiting]
        pools = [(b.cache._occupied, b.cache.flying_tokens) for b in scheduler._fleet]
        answers.append(matches + pools)  # type: ignore[arg-type]
    return answers


@given(story=steps, late=st.booleans())
@settings(deadline=None, max_examples=300)
def test_decides_as_the_reference_does(story: list[tuple[str, str | int]], late: bool) -> None:
    """With pygtrie below, a node a block, every match, token count and decision is the same."""
    assert tell(PrefixTrie(), story, late) == tell(ReferenceTrie(), story, late)


@pytest.mark.parametrize("trie", [PrefixTrie, ReferenceTrie])
def test_the_reference_keeps_no_more_than_its_users(trie: type[PrefixTrie]) -> None:
    """Both are empty again after the last prompt, the empty prompt included."""
    made = trie()
    entries = [enter(made, prefix) for prefix in PREFIXES]
    assert made.blocks == 14
    for entry in entries:
        made.leave(entry)
        made.drop(entry)
    assert (made.nodes, made.blocks) == (0, 0)


def test_memory_follows_what_may_be_cached() -> None:
    """100,000 distinct prompts come and go: the trie holds those that the cache may, no more."""
    trie = PrefixTrie()
    cache = Residency("b", trie, max_recent=500)
    for number in range(100_000):
        blocks = (2 * number, 2 * number + 1)
        entry = Entry(Request(id="r", arrived_at=0.0, prefix=blocks, prompt_tokens=300), number)
        trie.add(entry)
        entry.waiting = False
        entry.output_tokens = 20
        cache.launch(entry, late=False)
        cache.land(entry, 20)
        assert trie.blocks <= 2 * 501
    assert cache.recent == trie.nodes == 500


def test_a_long_prompt_costs_little() -> None:
    """128k tokens: from arrival to end under 2 ms of scheduler time, the best of five prompts that
    part from one another in the middle."""
    talk = Talk(backend(kv_tokens=None))
    blocks = 170
    costs = []
    for number in range(5):
        own = range(blocks * (number + 1) + 80, blocks * (number + 2))
        asked = Request(
            id=str(number),
            arrived_at=float(number),
            model="m",
            prefix=(*range(80), *own),
            prompt_tokens=131_072,
        )
        assert blocks < MAX_BLOCKS
        started = time.process_time()
        actions = talk.scheduler.handle(Arrived(asked), float(number))
        talk.first_byte(str(number), number + 0.5)
        talk.finish(str(number), number + 0.6)
        costs.append(time.process_time() - started)
        assert isinstance(actions[0], Dispatch)
    assert min(costs) < 0.002
