"""Members of a fleet hear each other while the store is there, and go on alone while it is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from paceline.proxy.fleet import member as module
from paceline.proxy.fleet.member import Member
from paceline.proxy.fleet.messages import decode
from paceline.proxy.fleet.report import FleetCollector, fleet_state
from paceline.scheduler.events import (
    Arrived,
    Dispatch,
    Failed,
    Finished,
    FirstByte,
    ProxiesChanged,
    Sent,
)
from paceline.scheduler.types import Request
from tests.proxy.fleet.stream import Ear, End, Stream
from tests.scheduler.dialogue import request


class Peer:
    """A member with what it told its driver."""

    def __init__(self, stream: Stream, interval: float) -> None:
        self.ear = Ear()
        self.end = End(stream)
        self.requests: dict[str, Request] = {}
        self.member = Member(self.end, self.ear, self.requests.get, interval)

    def send(self, id: str, prefix: str = "ab") -> None:
        self.requests[id] = made = request(id, prefix)
        self.member.note(Arrived(made), [Dispatch(id, "b", 0, 0.0, "direct")])


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fleet that is a hundred times faster."""
    for name in ("BEAT", "LIST", "RETRY", "LOOK"):
        old = getattr(module, f"{name}_SECONDS")
        monkeypatch.setattr(module, f"{name}_SECONDS", old / 100)
    monkeypatch.setattr("paceline.proxy.fleet.peers.SILENCE_SECONDS", 0.1)


@asynccontextmanager
async def fleet(
    stream: Stream, size: int = 2, interval: float = 0.005
) -> AsyncIterator[list[Peer]]:
    """So many members that have heard each other."""
    peers = [Peer(stream, interval) for _ in range(size)]
    for peer in peers:
        peer.member.start()
    try:
        for peer in peers:
            await joined(peer, size)
        yield peers
    finally:
        for peer in peers:
            await peer.member.close()
        assert all(peer.end.closed for peer in peers)


async def joined(peer: Peer, size: int) -> None:
    """Until it counts so many proxies."""
    while not peer.ear.events or len(peer.member.peers) + 1 != size:
        await peer.ear.until(ProxiesChanged)
        await asyncio.sleep(0.002)


async def test_large_work_is_heard_at_once() -> None:
    """Four pieces, one after the other, within the time of one batch."""
    async with fleet(Stream(), interval=0.4) as (here, there), asyncio.timeout(0.4):
        for count in range(1, 5):
            here.send(f"r{count}", "abcdefg")
            await there.ear.until(Sent, count)


async def test_what_one_sends_all_hear() -> None:
    """From its dispatch to its end; how many there are comes first."""
    async with fleet(Stream(), 3) as (one, two, three):
        one.send("r")
        one.member.note(FirstByte("r"), [])
        one.member.note(Finished("r"), [])
        for other in (two, three):
            await other.ear.until(Finished)
            kinds = [type(e) for e in other.ear.events if not isinstance(e, ProxiesChanged)]
            assert kinds == [Sent, FirstByte, Finished]
            assert ProxiesChanged(3) in other.ear.events
        assert not [e for e in one.ear.events if not isinstance(e, ProxiesChanged)]
        assert one.member.lag < 1.0


async def test_who_comes_later_hears_what_runs() -> None:
    """It asks, and the others tell all that they have in flight."""
    stream = Stream()
    async with fleet(stream) as (one, two):
        one.send("r")
        one.member.note(FirstByte("r"), [])
        await two.ear.until(FirstByte)
        late = Peer(stream, 0.005)
        late.member.start()
        [sent] = await late.ear.until(Sent)
        await late.ear.until(FirstByte)
        assert isinstance(sent, Sent)
        assert sent.request.prefix == one.requests["r"].prefix
        assert len(await two.ear.until(Sent)) == 1
        await late.member.close()


async def test_a_lost_store_leaves_everybody_alone_until_it_is_back() -> None:
    """What peers had ends; when it is back a new run tells what still is in flight."""
    stream = Stream()
    async with fleet(stream) as (one, two):
        one.send("r")
        await two.ear.until(Sent)
        stream.lost = True
        stream.wake()
        await two.ear.until(Failed)
        assert not len(two.member.peers)
        assert two.ear.events[-1] == ProxiesChanged(1)
        assert not two.member.connected
        stream.lost = False
        again = (await two.ear.until(Sent, 2))[-1]
        assert isinstance(again, Sent)
        assert again.request.id.split(".")[1:] == [str(one.member.outbox.run), "1"]
        assert one.member.outbox.run > 0
        assert two.member.connected
        await joined(two, 2)


async def test_a_peer_that_dies_is_forgotten() -> None:
    """Nobody says so: it is silent."""
    async with fleet(Stream()) as (one, two):
        one.send("r")
        await two.ear.until(Sent)
        await one.member.close()
        await two.ear.until(Failed)
        assert two.ear.events[-1] == ProxiesChanged(1)


async def test_every_batch_twice_changes_nothing() -> None:
    """Nor does what is no batch at all."""
    stream = Stream()
    async with fleet(stream) as (one, two):
        one.send("r")
        await two.ear.until(Sent)
        for data in list(stream.batches):
            stream.add(data)
        stream.add(b"\x93nonsense")
        one.member.note(Finished("r"), [])
        await two.ear.until(Finished)
        assert len(await two.ear.until(Sent)) == 1
        assert two.member.peers.dropped > 1
        assert not [e for e in two.ear.events if isinstance(e, Failed)]


async def test_a_listener_that_fails_is_logged_and_heard_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fleet that stumbles must not fall."""
    async with fleet(Stream()) as (one, two):
        heard = two.ear.heard

        def stumble(event: Sent) -> None:
            monkeypatch.setattr(two.ear, "heard", heard)
            raise RuntimeError("stumbled")

        monkeypatch.setattr(two.ear, "heard", stumble)
        one.send("r")
        one.send("s")
        while two.ear.heard == stumble:
            await asyncio.sleep(0.002)
        one.send("t")
        await two.ear.until(Sent)
    assert "stumbled" in capsys.readouterr().out


async def test_all_of_it_is_reported() -> None:
    """For people and for Prometheus."""
    async with fleet(Stream()) as (one, two):
        one.send("r")
        await two.ear.until(Sent)
        now = asyncio.get_running_loop().time()
        state = fleet_state(two.member, "c", now)
        assert (state.cell, state.connected, state.peer_requests) == ("c", True, 1)
        assert [peer.proxy for peer in state.peers] == [one.member.proxy]
        assert state.peers[0].silent_seconds < 5.0
        page = {
            family.name: family.samples[0].value for family in FleetCollector(two.member).collect()
        }
        assert page["paceline_fleet_peers"] == page["paceline_fleet_connected"] == 1
        assert page["paceline_fleet_peer_requests"] == page["paceline_fleet_heard_requests"] == 1
        assert list(FleetCollector(two.member).describe()) == []


async def test_idle_members_beat_and_list() -> None:
    """Silence would mean that they are dead; a list ends what nobody heard the end of."""
    stream = Stream()
    async with fleet(stream):
        while not any(decode(data).running is not None for data in stream.batches):
            await stream.grown()
        before = len(stream.batches)
        while len(stream.batches) < before + 4:
            await stream.grown()
        assert not any(decode(data).news for data in stream.batches)
