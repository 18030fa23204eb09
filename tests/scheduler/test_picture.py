"""The picture says who waits, why and with whom, and is as large for 10,000 as for 100."""

from __future__ import annotations

import msgspec

from paceline.policies.lpm import Lpm
from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.picture import FAMILIES, PREFIXES, Inspector, Picture, family_key, short
from tests.scheduler.dialogue import Talk, backend

LATE = backend("sgl", leader_first=True, max_running=8)
PATIENT = SchedulerConfig(follower_min_tokens=100, late_feed_chunks=1.0)


def picture(talk: Talk, at: float) -> Picture:
    return Inspector(talk.scheduler).picture(at)


def test_nothing_is_an_empty_picture() -> None:
    """Without requests there is nothing to see."""
    empty = picture(Talk(), 1.0)
    assert (empty.queues, empty.families, empty.prefixes) == ([], [], [])
    assert (empty.queue_count, empty.family_count, empty.prefix_count, empty.alone) == (0, 0, 0, 0)


def test_followers_are_seen_with_their_leader() -> None:
    """The family says who leads it where since when, and how many are held for that."""
    talk = Talk(LATE, config=PATIENT)
    assert talk.arrive("a1", "sys", 0.0, tenant="acme") == "a1->sgl"
    for id in ("a2", "a3"):
        assert talk.arrive(id, "sys", 1.0, tenant="acme") == ""
    seen = picture(talk, 2.0)
    (family,) = seen.families
    assert (family.tokens, family.waiting, family.held, family.running) == (300, 2, 2, 1)
    assert (family.models, family.tenants, family.cached) == (["m"], ["acme"], {})
    assert (family.oldest_seconds, family.parked) == (1.0, {})
    assert family.leader is not None
    assert (family.leader.id, family.leader.backend, family.leader.seconds) == ("a1", "sgl", 2.0)
    (line,) = seen.queues
    assert (line.model, line.waiting, line.held, line.full) == ("m", 2, 2, [])
    (node,) = seen.prefixes
    assert (node.key, node.parent, node.start, node.end) == (family.key, None, 0, 300)
    assert (node.waiting, node.running, node.recent) == (2, 1, 0)
    assert node.leader == family.leader


def test_a_published_prefix_is_cached() -> None:
    """After the leader's first byte nobody leads; after its end it counts as recent."""
    talk = Talk(LATE, config=PATIENT)
    talk.arrive("a1", "sys", 0.0)
    talk.arrive("a2", "sys", 0.0)
    assert talk.first_byte("a1", 1.0) == "a2->sgl"
    talk.finish("a1", 2.0)
    (node,) = picture(talk, 3.0).prefixes
    assert (node.waiting, node.running, node.recent) == (0, 1, 1)
    assert (node.cached, node.leader) == (["sgl"], None)


def test_forks_are_children() -> None:
    """A common beginning is the parent of what goes on differently, and comes before it."""
    talk = Talk(backend(max_running=1))
    talk.arrive("r", "q")
    for id, prefix in (("a1", "sa"), ("a2", "sa"), ("b1", "sb"), ("b2", "sb"), ("c", "sc")):
        assert talk.arrive(id, prefix) == ""
    assert talk.arrive("lone", "z") == ""
    seen = picture(talk, 1.0)
    root, *branches = seen.prefixes
    assert (root.parent, root.waiting, root.start, root.end) == (None, 5, 0, 100)
    spans = [(node.parent, node.waiting, node.start, node.end) for node in branches]
    assert spans == [(0, 2, 100, 200)] * 2
    assert [(one.tokens, one.waiting) for one in seen.families] == [(200, 2), (200, 2), (100, 1)]
    assert (seen.family_count, seen.prefix_count, seen.alone) == (3, 3, 1)
    assert seen.families[2].key == root.key


def test_the_parked_wait_for_a_backend() -> None:
    """Those whose prefix is at a busy backend are counted under its name, with what it has."""
    talk = Talk(backend("x", kv_tokens=5000), backend("y", kv_tokens=5000))
    assert talk.arrive("a1", "abcdefghi") == "a1->x"
    assert talk.arrive("b1", "z") == "b1->y"
    for id in ("a2", "a3", "a4"):
        assert talk.arrive(id, "abcdefghi", 1.0) == ""
    seen = picture(talk, 2.0)
    (family,) = seen.families
    assert (family.waiting, family.held, family.parked) == (3, 0, {"x": 3})
    assert family.cached == {"x": 900}
    assert seen.queues[0].parked == {"x": 3}


def test_what_does_not_fit_is_said() -> None:
    """A backend whose KV room the next request exceeds is named."""
    talk = Talk(backend("x", kv_tokens=700))
    assert talk.arrive("a", "abcd", 0.0) == "a->x"
    assert talk.arrive("b", "efgh", 0.0) == ""
    assert picture(talk, 1.0).queues[0].full == ["x"]


def test_families_are_named_by_their_longest_shared_prefix() -> None:
    """A request alone has no family's name; two that share have the same one."""
    talk = Talk()
    talk.arrive("a1", "sys")
    look = Inspector(talk.scheduler)
    first = look.entry("a1")
    assert first is not None
    assert family_key(first) == ""
    talk.arrive("a2", "syz")
    second = look.entry("a2")
    assert second is not None
    assert family_key(first) == family_key(second) != ""
    assert look.entry("nobody") is None


def test_names_are_cut() -> None:
    """What a client chose cannot blow up the picture."""
    assert short("m" * 80) == "m" * 80
    assert short("m" * 81) == "m" * 80 + "..."


def test_many_do_not_make_it_larger() -> None:
    """Hundreds of families: the largest are shown, the others counted."""
    talk = Talk(backend(max_running=1), policy=Lpm())
    talk.arrive("r", "?")
    for family in range(300):
        for member in range(2 if family else 5):
            talk.arrive(f"{family}-{member}", f"s{chr(0x4E00 + family)}")
    seen = picture(talk, 1.0)
    assert (len(seen.families), len(seen.prefixes)) == (FAMILIES, PREFIXES)
    assert (seen.family_count, seen.prefix_count, seen.queues[0].waiting) == (300, 301, 603)
    assert seen.families[0].waiting == 5
    assert all(node.parent is None or node.parent < n for n, node in enumerate(seen.prefixes))
    assert len(msgspec.json.encode(seen)) < 20_000
