"""Whatever happens in whatever order, the books balance and every request ends exactly once."""

from __future__ import annotations

import math
from itertools import takewhile
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paceline.policies.auto import Auto
from paceline.policies.dfs_weight import DfsWeight
from paceline.policies.fair import Fair
from paceline.policies.fcfs import Fcfs
from paceline.policies.hrrn import Hrrn
from paceline.policies.k_lpm import KLpm
from paceline.policies.lpm import Lpm
from paceline.policies.priority import Priority
from paceline.policies.random import Random
from paceline.policies.shortest_prefill_first import ShortestPrefillFirst
from paceline.scheduler.blocks import chain_on
from paceline.scheduler.choice import _there
from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.entry import Entry
from paceline.scheduler.events import (
    Arrived,
    BackendChanged,
    BackendRemoved,
    BackendReset,
    CacheReported,
    Cancelled,
    Dispatch,
    Event,
    Failed,
    Finished,
    FirstByte,
    LoadReported,
    Reject,
    Tick,
)
from paceline.scheduler.fleet import UNSTARTED
from paceline.scheduler.policy import Policy
from paceline.scheduler.scheduler import Scheduler
from paceline.scheduler.types import Usage
from tests.scheduler.dialogue import backend, keys, request

PREFIXES = ["", "a", "ab", "abc", "abd", "x", "xyz", "xyzuvw", "pqrstuvw"]
CONFIG = SchedulerConfig(
    max_waiting=12, queue_seconds=30.0, follower_min_tokens=100, follower_max_seconds=5.0
)
POLICIES: list[type[Policy]] = [
    Auto,
    DfsWeight,
    Fair,
    Fcfs,
    Hrrn,
    KLpm,
    Lpm,
    Priority,
    Random,
    ShortestPrefillFirst,
]


class World:
    """Plays clients and engines at random and checks the scheduler's books after every event."""

    def __init__(self, policy: Policy, backends: list[dict[str, Any]]) -> None:
        self.scheduler = Scheduler(CONFIG, policy, seed=1)
        self.now = 0.0
        self.waiting: dict[str, None] = {}
        self.running: dict[str, str] = {}
        self.ended: dict[str, str] = {}
        self.count = 0
        for number, facts in enumerate(backends):
            self.feed(BackendChanged(backend(f"b{number}", **facts)))

    def feed(self, event: Event) -> None:
        for action in self.scheduler.handle(event, self.now):
            if isinstance(action, Dispatch):
                self._begin(action)
            else:
                self._refuse(action)
        check(self.scheduler, self.waiting, self.running)

    def arrive(self, prefix: str, tail: int, more: dict[str, Any]) -> None:
        id = f"r{self.count}"
        self.count += 1
        self.waiting[id] = None
        self.feed(Arrived(request(id, prefix, at=self.now, tail=tail, **more)))

    def end(self, id: str, how: str) -> None:
        if how == "retry" and id in self.running:
            del self.running[id]
            self.waiting[id] = None
            self.feed(Failed(id, retry=True))
            return
        if how in {"finish", "fail", "retry"} and id not in self.running:
            how = "cancel"
        self.waiting.pop(id, None)
        self.running.pop(id, None)
        assert id not in self.ended
        self.ended[id] = how
        count = len(self.ended)  # some answers are known, some reports contradict what is believed
        usage = Usage(output_tokens=5 * count, cached_tokens=(None, 0, 300)[count % 3])
        events: dict[str, Event] = {
            "finish": Finished(id, usage, self._answered(id) if count % 2 else ()),
            "fail": Failed(id),
        }
        self.feed(events.get(how, Cancelled(id)))

    def _answered(self, id: str) -> tuple[int, ...]:
        prefix = self.scheduler._entries[id].request.prefix
        return prefix + chain_on(prefix[-1] if prefix else 0, b"dx", base=1)

    def _begin(self, action: Dispatch) -> None:
        assert action.id in self.waiting
        del self.waiting[action.id]
        self.running[action.id] = action.backend

    def _refuse(self, action: Reject) -> None:
        assert action.id in self.waiting
        del self.waiting[action.id]
        assert action.id not in self.ended
        self.ended[action.id] = action.reason


def check(scheduler: Scheduler, waiting: dict[str, None], running: dict[str, str]) -> None:
    """Recount from scratch what the scheduler keeps incrementally."""
    entries = scheduler._entries
    assert set(entries) == set(waiting) | set(running)
    queued = {id: entry for id, entry in entries.items() if entry.waiting}
    assert set(queued) == set(waiting)
    assert scheduler._admission.waiting == len(waiting)
    assert scheduler._admission.waiting_tokens == sum(
        entry.request.prompt_tokens for entry in queued.values()
    )
    listed = [entry for queue in scheduler._waiting.queues.values() for entry in queue]
    assert set(map(id, listed)) == set(map(id, queued.values()))
    for queue in scheduler._waiting.queues.values():
        assert len(queue)
        live = {
            item[3].request.id
            for line in queue._lines.values()
            for lane in line.lanes.values()
            for heap in lane.values()
            for item in heap
            if item[2] == item[3].version
        }
        assert set(queue.closed.values()) <= set(queue)
        assert len(queue) == len(list(queue))
        for entry in queue:
            if entry.held_by is None:
                assert entry.request.id in live
            else:
                assert entry.request.id not in live
                assert entry.held_by in scheduler._fleet.by_id[entry.held_by.backend].in_flight
    for entry in queued.values():
        for name in {b.id for b in scheduler._fleet} | set(entry.match):
            held = [n.end for n in entry.nodes if name in n.at and n.at[name].holders]
            told = told_of(scheduler, name, entry)
            assert entry.match.get(name, 0) == max(*held, *told, 0, 0)
            assert scheduler._fleet.late or _there(entry).get(name, 0) == entry.match.get(name, 0)
    for each in scheduler._fleet:
        check_backend(each, running)
        limit = each.spec.max_running
        slots = limit is None or len(each.in_flight) <= limit
        idle = each.hungry and slots and each.spec.serves("m")
        free = [e for e in queued.values() if not e.avoid and not _follows(e, each.id)]
        assert not (idle and free), "a hungry backend was refused a request"
    if waiting:
        deadline = scheduler.deadline()
        assert deadline is not None, "whoever waits has a deadline"


def told_of(scheduler: Scheduler, name: str, entry: Entry) -> list[int]:
    """The ends of the blocks that the backend told of, as far as they follow one another."""
    backends = [b.cache for b in scheduler._fleet if b.id == name and b.cache.exact]
    known = backends[0]._told if backends and entry.request.exact else None
    blocks = takewhile(lambda key: key in (known or ()), entry.request.prefix)
    return [100 * (number + 1) for number, _ in enumerate(blocks)]


def check_backend(each: Any, running: dict[str, str]) -> None:
    """One backend's counters against its requests."""
    flying = list(each.in_flight)
    assert {e.request.id for e in flying} == {i for i, b in running.items() if b == each.id}
    nodes = {id(node): node for entry in flying for node in entry.nodes}
    own = sum(entry.tail_tokens + entry.output_tokens for entry in flying)
    assert each.cache.flying_tokens == own + sum(node.tokens for node in nodes.values())
    unstarted = [entry for entry, stage in each.in_flight.items() if stage == UNSTARTED]
    assert each.unstarted == len(unstarted)
    assert each.prefill_tokens == sum(entry.prefill_tokens for entry in unstarted)
    assert each.settles_at == next((entry.starts_at for entry in each.blind), float("inf"))
    recent = each.cache._recent
    present = nodes | {id(node): node for e in recent for node in e.nodes[: e.owned]}
    occupied = own + sum(recent.values()) + sum(node.tokens for node in present.values())
    assert each.cache._occupied == occupied
    if recent and each.cache.capacity is not None:
        assert occupied <= each.cache.capacity
    for node in present.values():
        presence = node.at[each.id]
        flown = sum(any(n is node for n in e.nodes) for e in flying)
        kept = sum(any(n is node for n in e.nodes[: e.owned]) for e in recent)
        assert presence.flying == flown
        assert presence.holders + len(presence.computing) == flown + kept


facts = st.fixed_dictionaries(
    {
        "leader_first": st.booleans(),
        "kv_tokens": st.sampled_from([None, 300, 1000, 5000]),
        "max_running": st.sampled_from([None, 1, 3]),
    }
)
more = st.fixed_dictionaries(
    {
        "streaming": st.booleans(),
        "priority": st.integers(-1, 1),
        "n": st.integers(1, 3),
        "max_tokens": st.sampled_from([None, 1, 50]),
        "tenant": st.sampled_from(["", "red", "blue"]),
        "exact": st.booleans(),
    }
)


@pytest.mark.parametrize("policy", POLICIES)
@given(data=st.data(), backends=st.lists(facts, min_size=1, max_size=3))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_story(policy: type[Policy], data: st.DataObject, backends: list[Any]) -> None:
    """Any sequence of events keeps the books right; afterwards nothing is left over."""
    world = World(policy(), backends)
    names = [f"b{number}" for number in range(len(backends))]
    for _ in range(data.draw(st.integers(1, 40))):
        world.now += data.draw(st.sampled_from([0.0, 0.01, 0.5, 4.0]))
        what = data.draw(st.sampled_from(["arrive"] * 4 + ["end"] * 4 + ["byte"] * 3 + ["other"]))
        known = sorted(world.waiting) + sorted(world.running)
        if what == "arrive":
            prefix = data.draw(st.sampled_from(PREFIXES))
            world.arrive(prefix, data.draw(st.integers(0, 90)), data.draw(more))
        elif what == "end" and known:
            how = data.draw(st.sampled_from(["finish", "finish", "fail", "cancel", "retry"]))
            world.end(data.draw(st.sampled_from(known)), how)
        elif what == "byte" and world.running:
            world.feed(FirstByte(data.draw(st.sampled_from(sorted(world.running)))))
        elif what == "other":
            disturb(world, data, data.draw(st.sampled_from(names)))
    finish(world)


def disturb(world: World, data: st.DataObject, name: str) -> None:
    """Something happens to a backend."""
    kind = data.draw(
        st.sampled_from(["load", "down", "up", "reset", "remove", "tick", "tell", "hush"])
    )
    if kind == "load":
        world.feed(LoadReported(name, 1, data.draw(st.integers(0, 5)), world.now))
    elif kind in {"down", "up"}:
        world.feed(BackendChanged(backend(name, up=kind == "up")))
    elif kind == "tell":
        stored, removed = (keys(data.draw(st.sampled_from(PREFIXES))) for _ in range(2))
        world.feed(CacheReported(name, stored, removed))
    elif kind == "hush":
        world.feed(CacheReported(name, known=False))
    elif kind == "reset":
        world.feed(BackendReset(name))
    elif kind == "remove":
        gone = [id for id, where in world.running.items() if where == name]
        for id in gone:
            world.ended[id] = "fail"
            del world.running[id]
        world.feed(BackendRemoved(name))
    else:
        world.feed(Tick())


def finish(world: World) -> None:
    """Let time pass and requests complete until nothing is left; then the books must be empty."""
    world.feed(BackendChanged(backend("b0", up=True)))
    while world.waiting or world.running:
        for id in list(world.running):
            world.feed(FirstByte(id))
            world.end(id, "finish")
        if world.waiting and not world.running:
            deadline = world.scheduler.deadline()
            assert deadline is not None
            world.now = max(world.now, deadline)
            world.feed(Tick())
    assert len(world.ended) == world.count
    for each in list(world.scheduler._fleet):
        assert each.prefill_tokens == 0
        assert each.cache.flying_tokens == 0
        world.feed(BackendReset(each.id))
        assert each.cache._occupied == 0
    assert world.scheduler._trie.nodes == 0
    assert not world.scheduler._trie.blocks
    assert not world.scheduler._waiting.queues
    assert world.scheduler.deadline() is None
    assert math.isfinite(world.scheduler._view.mean_wait)


def _follows(entry: Entry, backend: str) -> bool:
    """Whether it is held for a leader that is being computed there."""
    return entry.held_by is not None and entry.held_by.backend == backend
