"""An engine that tells what it has cached is believed, until it tells no longer."""

from __future__ import annotations

from paceline.scheduler.events import BackendRemoved, BackendReset, CacheReported, Failed
from paceline.scheduler.reference_trie import ReferenceTrie
from paceline.scheduler.trie import PrefixTrie
from tests.scheduler.dialogue import Talk, backend, keys
from tests.scheduler.test_residency import Pool


def large(id: str) -> Talk:
    return Talk(backend(id, kv_tokens=100_000, chunk_tokens=9000))


def told(talk: Talk, stored: str = "", removed: str = "", *, known: bool = True) -> str:
    """Backend `a` reports the blocks at the ends of these prefixes, separated by spaces."""
    event = CacheReported("a", ends(stored), ends(removed), known)
    return talk.say(event, 50.0)


def ends(prefixes: str) -> tuple[int, ...]:
    return tuple(keys(prefix)[-1] for prefix in prefixes.split())


def predicted(talk: Talk, prefix: str, *, exact: bool = True) -> int:
    """What a request with this prefix is said to find."""
    id = f"r{len(talk.dispatches)}"
    talk.arrive(id, prefix, 60.0, exact=exact)
    talk.finish(id, 60.0)
    return talk.dispatches[id].cached_tokens


def test_what_is_told_is_matched_and_nothing_else() -> None:
    """What ended stays as long as the engine says, not as long as the pool is large."""
    talk = large("a")
    told(talk, "a ab abc")
    assert predicted(talk, "abcd") == 300
    assert predicted(talk, "abcd") == 300
    told(talk, "abcd", "abc")
    assert predicted(talk, "abcd") == 200
    assert predicted(talk, "x") == 0


def test_what_runs_counts_beside_what_is_told() -> None:
    """News of what a running request stored is on its way."""
    talk = large("a")
    told(talk, "a")
    talk.arrive("one", "abc", 60.0, exact=True)
    talk.arrive("two", "abcd", 60.0, exact=True)
    assert talk.dispatches["two"].cached_tokens == 300


def test_only_exact_blocks_can_be_told_of() -> None:
    """A prompt by its text is estimated, beside those that are known."""
    talk = large("a")
    told(talk, "a ab")
    assert predicted(talk, "ab", exact=False) == 0
    assert predicted(talk, "ab", exact=False) == 200


def test_silence_brings_the_estimate_back() -> None:
    """From nothing: what was told may be wrong, and what ended meanwhile was not kept."""
    talk = large("a")
    told(talk, "a ab")
    assert predicted(talk, "ab") == 200
    told(talk, known=False)
    assert predicted(talk, "ab") == 0
    assert predicted(talk, "ab") == 200
    told(talk, known=False)
    assert predicted(talk, "ab") == 200


def test_the_engine_itself_tells_of_a_restart() -> None:
    """Who else noticed may be late: what was told since would be lost."""
    talk = large("a")
    told(talk, "a ab")
    talk.say(BackendReset("a"), 55.0)
    assert predicted(talk, "ab") == 200
    told(talk, known=False)
    told(talk, "a")
    assert predicted(talk, "ab") == 100
    assert talk.say(CacheReported("nobody", (1,)), 61.0) == ""


def test_a_removed_backend_has_told_nothing() -> None:
    """Those that wait for it look elsewhere."""
    talk = Talk(*(backend(id, kv_tokens=100_000, chunk_tokens=900) for id in "ab"))
    told(talk, "a ab abc")
    talk.arrive("fill a", "xyzuvwop", 60.0)
    talk.arrive("fill b", "qrstmnlk", 60.0)
    talk.arrive("more a", "abcdefgh", 60.0, exact=True)
    talk.arrive("more b", "ijklmnop", 60.0)
    assert talk.arrive("waits", "abcd", 60.1, exact=True) == ""
    talk.say(BackendRemoved("a"), 61.0)
    entry = talk.scheduler._entries["waits"]
    assert not any(entry.match.values())


def test_placement_follows_what_is_told() -> None:
    """A prompt goes where it is cached, also if nobody here sent it there."""
    talk = Talk(*(backend(id, kv_tokens=100_000, chunk_tokens=9000) for id in "ba"))
    told(talk, "a ab abc")
    assert talk.arrive("one", "abcd", 60.0, exact=True) == "one->a"


def test_the_waiting_hear_of_it() -> None:
    """Of blocks that come and go, and of silence."""
    for trie in (PrefixTrie(), ReferenceTrie()):
        pool = Pool(capacity=None, trie=trie)
        waiting = pool.enter("abc", exact=True)
        other = pool.enter("abx")
        stored = CacheReported("b", keys("ab"))
        assert set(pool.cache.tell(stored)) == {waiting, other}
        assert (waiting.match, other.match) == ({"b": 200}, {"b": 0})
        pool.cache.tell(CacheReported("b", (), keys("ab")[1:]))
        assert waiting.match == {"b": 100}
        running = pool.launch("abc")
        assert waiting.match == {"b": 300}
        pool.cache.land(running, None)
        assert waiting.match == {"b": 100}
        assert set(pool.cache.tell(CacheReported("b", known=False))) == {waiting, other}
        assert waiting.match == {"b": 0}


def test_a_retried_request_knows_what_was_told() -> None:
    """Back in the queue, its match is made afresh, of every backend that tells."""
    talk = Talk(*(backend(id, kv_tokens=100_000, chunk_tokens=9000) for id in "abc"))
    told(talk, "a ab")
    talk.say(CacheReported("c", ends("a")), 50.0)
    assert talk.arrive("one", "abc", 60.0, exact=True) == "one->a"
    assert talk.say(Failed("one", retry=True), 61.0) == "one->c"
    assert talk.dispatches["one"].cached_tokens == 100
