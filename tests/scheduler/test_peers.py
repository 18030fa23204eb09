"""What other proxies send counts where it is, decides nothing, and leaves nothing behind."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.policies.auto import Auto
from paceline.policies.lpm import Lpm
from paceline.scheduler.events import (
    BackendChanged,
    BackendRemoved,
    BackendReset,
    Event,
    Failed,
    Finished,
    FirstByte,
    ProxiesChanged,
    Sent,
    Tick,
)
from paceline.scheduler.policy import Policy, View
from paceline.scheduler.snapshot import BackendSnapshot
from paceline.scheduler.types import Request, Usage
from tests.scheduler.dialogue import Talk, backend, request


def large(*ids: str, **more: object) -> list[Any]:
    return [backend(id, kv_tokens=100_000, chunk_tokens=9000, **more) for id in ids]


def hear(talk: Talk, id: str, prefix: str = "", to: str = "a", **more: Any) -> str:
    """A peer sent a request to backend `to`."""
    return talk.say(Sent(request(id, prefix, **more), to), more.get("at", 0.0))


def at(talk: Talk, id: str = "a") -> BackendSnapshot:
    return next(b for b in talk.scheduler.snapshot(0.0).backends if b.id == id)


def test_a_peers_request_makes_its_backend_warm_and_busy() -> None:
    """Its prefix is found there, its work is queued there, and nothing is decided about it."""
    talk = Talk(*large("a", "b"))
    assert hear(talk, "p.0.1", "abc", to="b") == ""
    assert (at(talk, "b").in_flight, at(talk, "b").peers, at(talk, "b").prefill_tokens) == (
        1,
        1,
        310,
    )
    assert talk.arrive("mine", "abcd") == "mine->b"
    assert talk.dispatches["mine"].cached_tokens == 300
    assert talk.arrive("other", "x") == "other->a"


def test_what_a_peer_finished_stays_and_what_failed_does_not() -> None:
    """As with requests of its own; the answer's blocks stay, too."""
    talk = Talk(*large("a"))
    hear(talk, "p.0.1", "ab")
    hear(talk, "p.0.2", "xy")
    talk.finish("p.0.1", 1.0, answered="abcd")
    talk.say(Failed("p.0.2"), 1.0)
    assert at(talk).peers == at(talk).in_flight == at(talk).prefill_tokens == 0
    talk.arrive("mine", "abcde", 2.0)
    talk.arrive("gone", "xyz", 2.0)
    assert talk.dispatches["mine"].cached_tokens == 400
    assert talk.dispatches["gone"].cached_tokens == 0


def test_twice_and_for_nobody() -> None:
    """The same again, a backend that is not here, the end of what never was: nothing changes."""
    talk = Talk(*large("a"))
    hear(talk, "p.0.1", "ab")
    assert hear(talk, "p.0.1", "xyz") == ""
    assert hear(talk, "p.0.2", "ab", to="nowhere") == ""
    assert talk.finish("p.0.2", 1.0) == talk.first_byte("p.0.2", 1.0) == ""
    assert (at(talk).peers, at(talk).prefill_tokens) == (1, 210)
    assert talk.scheduler.snapshot(0.0).in_flight == 0


def test_a_peers_leader_is_waited_for() -> None:
    """Followers here wait for the first byte of a leader that another proxy sent."""
    talk = Talk(*large("a", leader_first=True))
    hear(talk, "p.0.1", "abcdefgh")
    assert talk.arrive("mine", "abcdefgh") == ""
    assert talk.first_byte("p.0.1", 1.0) == "mine->a"
    assert talk.dispatches["mine"].cached_tokens == 800


def test_known_answer_lengths_and_exact_blocks_count_for_peers() -> None:
    """Their KV is as large as what was seen lets expect, choices counted."""
    talk = Talk(*large("a"))
    hear(talk, "p.0.1", max_tokens=None)
    talk.finish("p.0.1", 1.0, output=30)
    room = at(talk).kv_room
    hear(talk, "p.0.2", max_tokens=None, n=2, exact=True)
    left = at(talk).kv_room
    assert room is not None
    assert left is not None
    assert room - left == 10 + 2 * 30


def test_no_policy_hears_of_them() -> None:
    """It would be told of the end of what it never saw enter."""

    class Strict(Lpm):
        def finished(self, request: Request, output_tokens: int) -> None:
            assert request.id == "mine"

    talk = Talk(*large("a"), policy=Strict())
    hear(talk, "p.0.1", "ab")
    talk.arrive("mine", "ab")
    talk.finish("p.0.1", 1.0)
    talk.finish("mine", 1.0)


def test_proxies_share_the_feed_target() -> None:
    """Cold work counts for each proxy; a backend with nothing to do takes anything."""
    talk = Talk(*large("a"), policy=Lpm())
    assert talk.say(ProxiesChanged(4), 0.0) == ""
    assert talk.arrive("first", "a" * 30) == "first->a"
    assert talk.arrive("second", "b" * 30) == ""
    assert talk.arrive("warm", "a" * 30) == "warm->a"
    assert talk.say(ProxiesChanged(1), 0.1) == "second->a"
    assert talk.say(ProxiesChanged(2), 0.1) == ""
    assert talk.say(BackendChanged(*large("b")), 0.2) == ""
    assert talk.arrive("third", "c" * 80, 0.2) == "third->b"


def test_who_fed_a_backend_last_goes_first() -> None:
    """What a peer fed is left to it for a moment, small work excepted; then anybody may go."""
    talk = Talk(*large("a"), policy=Lpm())
    talk.say(ProxiesChanged(4), 0.0)
    hear(talk, "p.0.1", "p" * 30)
    assert talk.first_byte("p.0.1", 1.0) == ""
    assert talk.arrive("cold", "c" * 30, 1.01) == ""
    assert talk.arrive("warm", "p" * 30, 1.02) == "warm->a"
    assert talk.first_byte("warm", 1.03) == "cold->a"
    hear(talk, "p.0.2", "q" * 30, at=1.04)
    talk.first_byte("cold", 2.0)
    talk.first_byte("p.0.2", 2.0)
    assert talk.arrive("next", "n" * 30, 2.01) == ""
    assert talk.scheduler.deadline() == pytest.approx(2.05)
    assert talk.say(Tick(), 2.04) == ""
    assert talk.say(Tick(), 2.05) == "next->a"


def test_nothing_waits_for_the_turn_of_proxies_that_are_gone() -> None:
    """Alone again, this proxy feeds all; with others, a backend of its own moves at once."""
    talk = Talk(*large("a"), policy=Lpm())
    talk.say(ProxiesChanged(2), 0.0)
    hear(talk, "p.0.1", "p" * 60)
    talk.first_byte("p.0.1", 1.0)
    assert talk.arrive("cold", "c" * 60, 1.01) == ""
    assert talk.say(ProxiesChanged(1), 1.02) == "cold->a"
    hear(talk, "p.0.2", "q" * 60, at=1.03)
    talk.first_byte("cold", 1.04)
    talk.say(Failed("p.0.2"), 1.05)
    assert talk.arrive("more", "m" * 60, 1.05) == "more->a"


def test_no_backend_is_taken_over_out_of_turn() -> None:
    """Who waits for a warm but busy backend is not moved to one that another proxy feeds next."""
    talk = Talk(*large("a", "b"), policy=Lpm())
    talk.say(ProxiesChanged(4), 0.0)
    hear(talk, "p.0.1", "w" * 30)
    talk.first_byte("p.0.1", 0.5)
    hear(talk, "p.0.2", "x" * 95, at=0.6)
    hear(talk, "p.0.3", "y" * 30, to="b", at=0.6)
    talk.first_byte("p.0.3", 1.0)
    assert talk.arrive("mine", "w" * 30, 1.01) == ""
    assert talk.say(Tick(), 1.05) == "mine->b"


class Aged(Lpm):
    """Everybody is overdue after a second."""

    def overdue(self, request: Request, view: View) -> bool:
        return view.now >= request.arrived_at + 1.0


def test_what_is_overdue_waits_for_no_turn() -> None:
    """A proxy that others always get ahead of serves its oldest all the same."""
    talk = Talk(*large("a"), policy=Aged())
    talk.say(ProxiesChanged(4), 0.0)
    hear(talk, "p.0.1", "p" * 30)
    assert talk.arrive("old", "o" * 30, 0.1) == ""
    assert talk.first_byte("p.0.1", 1.2) == "old->a"


def test_a_backend_that_goes_takes_peers_requests_along() -> None:
    """Its books are closed; news of them that comes later changes nothing."""
    talk = Talk(*large("a", "b"))
    hear(talk, "p.0.1", "ab")
    talk.say(BackendRemoved("a"), 1.0)
    assert talk.finish("p.0.1", 2.0) == ""
    assert talk.scheduler._trie.nodes == 0


@pytest.mark.parametrize("took", [0.02, 0.05])
@pytest.mark.parametrize("streaming", [True, False])
def test_a_peer_says_how_long_its_request_took(streaming: bool, took: float) -> None:
    """An engine is as fast as its requests took, however soon after one another both were heard:
    proxies that measure news instead disagree on where to compute what."""
    talk = Talk(*large("a"))
    hear(talk, "p.0.1", "abcdefghijklmnopqrst", streaming=streaming, at=1.0)
    end = FirstByte("p.0.1", took) if streaming else Finished("p.0.1", Usage(), (), took)
    talk.say(end, 1.001)
    assert at(talk).prefill_rate == pytest.approx(2010 / took)


def story(names: list[str]) -> list[Event]:
    """All that can be heard of a peer's request."""
    events: list[Event] = []
    for number, name in enumerate(names):
        sent = request(name, "abcxyz"[number % 4 :], tail=50, streaming=bool(number % 2))
        events += [Sent(sent, "ab"[number % 2]), FirstByte(name, number / 10)]
        usage = Usage(output_tokens=7, cached_tokens=(None, 0)[number % 2])
        events.append(Failed(name) if number % 3 == 2 else Finished(name, usage))
    return events


NAMES = [f"p.0.{number}" for number in range(6)]
mangled = st.lists(st.sampled_from(story(NAMES)), max_size=40)
"""Peers' news: any of it lost, late, twice, in any order."""


@pytest.mark.parametrize("policy", [Lpm, Auto])
@given(news=mangled, mine=st.lists(st.integers(0, 3), max_size=40), late=st.booleans())
@settings(max_examples=80, deadline=None)
def test_whatever_is_heard_own_requests_end_once_and_nothing_is_left(
    policy: type[Policy], news: list[Event], mine: list[int], late: bool
) -> None:
    """Own requests are all dispatched and end; peers' never come out, and leave nothing behind."""
    config = large("a", "b", leader_first=late, max_running=2)
    talk = Talk(*config, policy=policy())
    said: list[str] = []
    count, now = 0, 0.0
    for number in range(max(len(news), len(mine))):
        now += 0.05
        if number < len(news):
            said += talk.say(news[number], now).split()
        if number < len(mine):
            said += talk.arrive(f"m{count}", "abcxyz"[mine[number] :], now).split()
            count += 1
    for name in NAMES:  # at the latest when they are silent or not in a list
        said += talk.say(Failed(name), now).split()
    ended: set[str] = set()
    while len(ended) < count:
        running = [one.partition("->")[0] for one in said]
        assert len(running) == len(set(running)), "somebody was dispatched twice"
        for id in [id for id in running if id not in ended]:
            said += talk.first_byte(id, now).split()
            said += talk.finish(id, now).split()
            ended.add(id)
        now += 1.0
        said += talk.say(Tick(), now).split()
    assert {one.partition("->")[0] for one in said} == {f"m{k}" for k in range(count)}
    assert_empty(talk)


def assert_empty(talk: Talk) -> None:
    scheduler = talk.scheduler
    for id in ("a", "b"):
        talk.say(BackendReset(id), 1000.0)
        assert (at(talk, id).in_flight, at(talk, id).prefill_tokens) == (0, 0)
        assert scheduler._fleet.by_id[id].cache._occupied == 0
    assert not scheduler._entries
    assert scheduler._trie.nodes == 0
    assert scheduler.deadline() is None
