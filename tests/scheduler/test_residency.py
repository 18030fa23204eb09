"""What a backend's cache is believed to hold: published when computed, evicted oldest first."""

from __future__ import annotations

from paceline.scheduler.entry import Entry
from paceline.scheduler.residency import UNKNOWN_POOL, Residency
from paceline.scheduler.trie import PrefixTrie
from tests.scheduler.dialogue import keys, request


class Pool:
    """One backend's cache with a trie of its own; `see` is what a prompt would hit."""

    def __init__(
        self,
        capacity: int | None = 1000,
        max_recent: int = 100,
        trie: PrefixTrie | None = None,
    ) -> None:
        self.trie = trie or PrefixTrie()
        self.cache = Residency("b", self.trie, max_recent)
        self.cache.resize(capacity)
        self._count = 0

    def enter(self, prefix: str, tail: int = 10, **more: object) -> Entry:
        asked = request(f"r{self._count}", prefix, tail=tail, **more)  # type: ignore[arg-type]
        entry = Entry(asked, self._count)
        self._count += 1
        entry.output_tokens = 20
        self.trie.add(entry)
        self.trie.wait(entry)
        return entry

    def launch(self, prefix: str, late: bool = False, tail: int = 10, **more: object) -> Entry:
        entry = self.enter(prefix, tail, **more)
        self.trie.leave(entry)
        entry.waiting = False
        self.cache.launch(entry, late)
        return entry

    def land(self, prefix: str, tail: int, output: int, answered: str = "") -> None:
        self.cache.land(self.launch(prefix, tail=tail), output, keys(answered))

    def see(self, prefix: str) -> int:
        entry = self.enter(prefix)
        tokens = entry.match.get("b", 0)
        self.trie.leave(entry)
        entry.waiting = False
        self.trie.drop(entry)
        return tokens


def test_early_caches_show_at_once() -> None:
    """What is dispatched can be hit in the same step."""
    pool = Pool()
    pool.launch("xy")
    assert pool.see("xyz") == 200


def test_late_caches_show_when_computed() -> None:
    """Until then the prefix is upcoming, led by the first that computes it."""
    pool = Pool()
    leader = pool.launch("xy", late=True)
    follower = pool.enter("xyz")
    assert pool.see("xy") == 0
    assert pool.cache.upcoming(follower) == (200, leader)
    assert pool.cache.computed(leader) == {follower: None}
    assert follower.match == {"b": 200}
    assert pool.cache.upcoming(follower) == (200, None)


def test_a_stranger_has_nothing_upcoming() -> None:
    """Neither cached nor computed."""
    pool = Pool()
    pool.launch("xy", late=True)
    assert pool.cache.upcoming(pool.enter("q")) == (0, None)


def test_shared_nodes_count_once() -> None:
    """In-flight tokens: each node once, each tail and answer for itself."""
    pool = Pool()
    pool.launch("xy")
    assert pool.cache.flying_tokens == 200 + 30
    assert pool.cache.new_tokens(pool.enter("xyz")) == 100 + 30
    second = pool.launch("xyz")
    assert pool.cache.flying_tokens == 300 + 60
    pool.cache.land(second, 20)
    assert pool.cache.flying_tokens == 200 + 30


def test_what_ended_leaves_room() -> None:
    """A cached prefix that nobody runs with counts as new: using it keeps it from eviction."""
    pool = Pool()
    pool.cache.land(pool.launch("xy"), 20)
    assert pool.cache.new_tokens(pool.enter("xyz")) == 300 + 30


def test_oldest_goes_first_and_leaf_first() -> None:
    """The pool evicts the prompt used longest ago; what newer ones share stays."""
    pool = Pool(capacity=560)
    pool.cache.land(pool.launch("ab"), 20)
    pool.cache.land(pool.launch("ac"), 20)
    assert (pool.see("ab"), pool.see("ac")) == (200, 200)
    pool.cache.land(pool.launch("de"), 20)
    assert (pool.see("ab"), pool.see("ac"), pool.see("de")) == (100, 200, 200)


def test_waiting_requests_hear_of_evictions() -> None:
    """Their match falls back to what is left."""
    pool = Pool(capacity=400)
    pool.cache.land(pool.launch("ab"), 20)
    waiting = pool.enter("abc")
    assert waiting.match == {"b": 200}
    running = pool.launch("xy")
    assert waiting.match == {"b": 0}
    pool.cache.land(running, None)


def test_in_flight_prompts_are_pinned() -> None:
    """What runs is not evicted, even when the pool is overcommitted."""
    pool = Pool(capacity=100)
    pool.launch("ab")
    pool.launch("cd")
    assert (pool.see("ab"), pool.see("cd")) == (200, 200)


def test_number_of_recent_prompts_is_bounded() -> None:
    """Also where the pool's size is unknown."""
    pool = Pool(capacity=None, max_recent=2)
    for prefix in "abc":
        pool.cache.land(pool.launch(prefix), 20)
    assert pool.cache.recent == 2
    assert (pool.see("a"), pool.see("c")) == (0, 100)


def test_a_pool_of_unknown_size_is_bounded_too() -> None:
    """What is remembered of it, that is: prompts of a million tokens push each other out."""
    pool = Pool(capacity=None)
    for prefix in "abcdef":
        pool.cache.land(pool.launch(prefix, tail=1_000_000), 20)
    assert pool.cache.recent == UNKNOWN_POOL // 1_000_120 == 3
    assert (pool.see("a"), pool.see("f")) == (0, 100)


def test_forget() -> None:
    """An emptied pool leaves nothing, and no node without a user."""
    pool = Pool()
    pool.cache.land(pool.launch("ab"), 20)
    pool.cache.forget()
    assert pool.see("ab") == 0
    assert pool.trie.nodes == 0
