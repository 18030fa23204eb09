"""Whatever comes late, twice or not at all: peers' requests end, and nothing else happens."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.policies.auto import Auto
from paceline.proxy.fleet.messages import Batch, First, News, ended, told
from paceline.proxy.fleet.messages import Failed as Lost
from paceline.proxy.fleet.peers import REMEMBERED, SILENCE_SECONDS, Heard, Peers
from paceline.scheduler.events import BackendReset, Failed, Finished, FirstByte, Sent
from paceline.scheduler.types import Usage
from tests.scheduler.dialogue import Talk, backend, keys, request


def sent(number: int, prefix: str = "ab") -> News:
    return told(number, "b", request("theirs", prefix))


def end(number: int, prefix: str = "ab") -> News:
    usage = Usage(output_tokens=5)
    return ended(number, Finished("theirs", usage, keys(prefix)), 2, 500)


def says(
    peers: Peers,
    number: int,
    *news: News,
    run: int = 0,
    at: float = 0.0,
    proxy: str = "q",
    running: list[int] | None = None,
) -> str:
    """One batch; what it means, as `sent 1`."""
    batch = Batch(proxy, run, number, list(news), False, running)
    return read(*peers.hear(batch, at))


def read(*heard: Heard) -> str:
    names = {Sent: "sent", FirstByte: "first", Finished: "finished", Failed: "failed"}
    return ", ".join(
        f"{names[type(one)]} {(one.request.id if isinstance(one, Sent) else one.id)}"
        for one in heard
    )


def test_a_request_comes_and_goes() -> None:
    """In the scheduler's words; its answer's blocks follow those of its prompt."""
    peers = Peers("me")
    assert says(peers, 0, sent(1), First(1, 60)) == "sent q.0.1, first q.0.1"
    [finish] = peers.hear(Batch("q", 0, 1, [end(1, "abcd")]), 0.0)
    assert finish == Finished("q.0.1", Usage(output_tokens=5), keys("abcd"), 0.5)
    [peer] = peers
    assert not peer.running
    assert (peers.batches, peers.requests, peers.gaps) == (2, 1, 0)


def test_its_own_batches_come_back() -> None:
    """And mean nothing."""
    assert says(Peers("me"), 0, sent(1), proxy="me") == ""


def test_twice_or_late_is_dropped() -> None:
    """By number, and by run."""
    peers = Peers("me")
    says(peers, 0, sent(1), run=1)
    says(peers, 1, end(1), run=1)
    assert says(peers, 1, end(1), run=1) == says(peers, 0, sent(1), run=1) == ""
    assert says(peers, 9, sent(7), run=0) == ""
    assert peers.dropped == 3


def test_the_same_request_again_changes_nothing() -> None:
    """As when somebody else had asked for all that runs."""
    peers = Peers("me")
    says(peers, 0, sent(1))
    assert says(peers, 1, sent(1), First(1, 60)) == "first q.0.1"


def test_a_gap_ends_what_ran_and_asks() -> None:
    """Its end may have been in what is missing."""
    peers = Peers("me")
    says(peers, 0, sent(1), sent(2))
    peers.asks = False
    assert says(peers, 2, sent(3), end(1)) == "failed q.0.1, failed q.0.2, sent q.0.3"
    assert (peers.gaps, peers.asks) == (1, True)


def test_a_new_run_replaces_the_old_one() -> None:
    """With what is in flight again, by names of its own."""
    peers = Peers("me")
    says(peers, 0, sent(1), sent(2))
    assert says(peers, 0, sent(2), run=1) == "failed q.0.1, failed q.0.2, sent q.1.2"
    assert peers.gaps == 0
    assert len(peers) == 1


def test_who_comes_in_the_middle_asks() -> None:
    """A proxy that was heard from its first batch on needs not be asked."""
    peers = Peers("me")
    assert peers.asks  # it has just come itself
    peers.asks = False
    says(peers, 0, proxy="q")
    assert not peers.asks
    says(peers, 5, end(1), proxy="r")
    assert peers.asks
    list(peers.hear(Batch("q", 0, 1, [], True), 0.0))
    assert peers.asked


def test_what_is_not_listed_has_ended() -> None:
    """However its end was lost."""
    peers = Peers("me")
    says(peers, 0, sent(1), sent(2))
    assert says(peers, 1, running=[2, 3]) == "failed q.0.1"


def test_silence_ends_what_ran() -> None:
    """What a dead proxy had is not believed to be cached; when it speaks again it is asked."""
    peers = Peers("me")
    says(peers, 0, sent(1), Lost(1), sent(2))
    assert read(*peers.silent(SILENCE_SECONDS)) == ""
    assert read(*peers.silent(SILENCE_SECONDS + 0.1)) == "failed q.0.2"
    assert len(peers) == 0
    peers.asks = False
    assert says(peers, 0, sent(1), at=4.0) == ""
    assert says(peers, 1, sent(3), at=4.0) == "sent q.0.3"
    assert peers.asks


def test_names_are_not_kept_for_ever() -> None:
    """Proxies come and go for years."""
    peers = Peers("me")
    for number in range(REMEMBERED + 10):
        says(peers, 0, proxy=f"q{number}")
        list(peers.silent(number * 10.0))
    assert len(peers._last) == REMEMBERED
    assert len(peers) < 3


BATCHES = [
    Batch("q", run, number, news, number % 2 == 1, running)
    for run in (0, 1)
    for number, (news, running) in enumerate(
        [
            ([sent(1), sent(2, "xyz")], None),
            ([First(1, 60), sent(3)], [1, 2, 3]),
            ([end(1, "abc"), Lost(2)], None),
            ([sent(4, "x"), First(3, 60)], [3, 4]),
            ([end(3)], [4]),
        ]
    )
]


@given(order=st.lists(st.sampled_from(BATCHES), max_size=30), mine=st.integers(0, 6))
@settings(max_examples=100, deadline=None)
def test_batches_in_any_order_leak_nothing(order: list[Batch], mine: int) -> None:
    """After silence the scheduler has its own requests only, and those are as they were."""
    talk, peers = Talk(backend(kv_tokens=100_000, chunk_tokens=9000), policy=Auto()), Peers("me")
    said = [talk.arrive(f"m{number}", "ab") for number in range(mine)]
    for number, batch in enumerate(order):
        for event in peers.hear(batch, number * 0.1):
            said.append(talk.say(event, number * 0.1))
    for event in peers.silent(100.0):
        said.append(talk.say(event, 100.0))
    assert len(peers) == 0
    assert [one for one in said if one] == [f"m{number}->b" for number in range(mine)]
    state = talk.scheduler.snapshot(100.0)
    assert (state.in_flight, state.backends[0].peers) == (mine, 0)
    for number in range(mine):
        assert talk.finish(f"m{number}", 101.0) == ""
    talk.say(BackendReset("b"), 102.0)
    assert talk.scheduler._trie.nodes == 0
