"""An arrival that competes with nobody is sent without a queue, to the same effect as with one."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from paceline.policies.lpm import Lpm
from paceline.scheduler.blocks import chain
from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.events import (
    Action,
    Arrived,
    BackendChanged,
    BackendReset,
    CacheReported,
    Cancelled,
    Dispatch,
    Event,
    Failed,
    Finished,
    FirstByte,
    LoadReported,
)
from paceline.scheduler.fleet import Backend
from paceline.scheduler.policy import Policy
from paceline.scheduler.scheduler import Scheduler
from paceline.scheduler.types import BackendSpec, Request, Usage
from tests.scheduler.dialogue import Talk, backend, request
from tests.scheduler.test_properties import CONFIG, POLICIES, PREFIXES, facts, more


class Queued(Scheduler):
    """Lets every request go through a queue."""

    def _calm(self, request: Request, now: float) -> list[Backend]:
        return []


gaps = st.sampled_from([0.0, 0.01, 0.1, 2.0])
arrivals = st.tuples(
    gaps, st.just("arrive"), st.sampled_from(PREFIXES), st.integers(0, 90), more, st.booleans()
)
others = st.tuples(
    gaps,
    st.sampled_from(
        ["byte", "finish", "finish", "cancel", "retry", "load", "reset", "flip", "tell"]
    ),
    st.integers(0, 99),
)
Story = list[tuple[Any, ...]]


def tell(scheduler: Scheduler, specs: list[BackendSpec], story: Story) -> list[list[Action]]:
    """What it answers, with the deadlines that it gives in between."""
    answers = [scheduler.handle(BackendChanged(spec), 0.0) for spec in specs]
    running: dict[str, None] = {}
    now = 0.0
    for number, (gap, what, which, *asked) in enumerate(story):
        now += gap
        id = f"r{number}"
        if what == "arrive":
            tail, facts, late = asked
            at = now - 1.0 if late else now
            event: Event = Arrived(request(id, which, at=at, tail=tail, **facts))
        elif what in {"load", "reset", "flip", "tell"}:
            spec = specs[which % len(specs)]
            events: dict[str, Event] = {
                "load": LoadReported(spec.id, 1, which % 3, now - 0.05),
                "reset": BackendReset(spec.id),
                "flip": BackendChanged(spec),
                "tell": CacheReported(spec.id, request("", PREFIXES[which % 9]).prefix),
            }
            event = events[what]
        elif running:
            id = list(running)[which % len(running)]
            events = {
                "byte": FirstByte(id),
                "finish": Finished(id, Usage(output_tokens=which)),
                "cancel": Cancelled(id),
                "retry": Failed(id, retry=True),
            }
            event = events[what]
            if what != "byte":
                del running[id]
        else:
            continue
        actions = scheduler.handle(event, now)
        running |= {action.id: None for action in actions if isinstance(action, Dispatch)}
        answers.append(actions)
        answers.append([scheduler.deadline()])  # type: ignore[list-item]
    return answers


@pytest.mark.parametrize("policy", POLICIES)
@given(
    backends=st.lists(facts, min_size=1, max_size=3),
    story=st.lists(st.one_of(arrivals, others), min_size=5, max_size=40),
)
@settings(max_examples=100, deadline=None)
def test_decides_as_the_queue_does(policy: type[Policy], backends: list[Any], story: Story) -> None:
    """Every action and deadline of any story is the same if all requests go through a queue."""
    specs = [backend(f"b{number}", **facts) for number, facts in enumerate(backends)]
    direct = tell(Scheduler(CONFIG, policy(), seed=1), specs, story)
    assert direct == tell(Queued(CONFIG, policy(), seed=1), specs, story)


def test_no_queue_is_made() -> None:
    """A request that goes at once leaves no trace of waiting."""
    talk = Talk()
    assert talk.arrive("a", "xy") == "a->b"
    assert talk.scheduler._admission.earliest == float("inf")
    assert talk.scheduler.deadline() is None


def test_nobody_jumps_ahead_of_who_waits() -> None:
    """An arrival that would fit lines up behind one that does not."""
    talk = Talk(backend(kv_tokens=None, chunk_tokens=450))
    talk.arrive("busy", "wxyz")
    assert talk.arrive("large", "abc", at=0.1) == ""
    assert talk.arrive("small", at=0.2) == ""
    assert talk.first_byte("busy", 0.3) == "large->b small->b"
    assert talk.dispatches["small"].reason == "cold"


def test_who_comes_too_late_is_refused() -> None:
    """A deadline that is past on arrival is one that has come."""
    talk = Talk()
    assert talk.arrive("a", at=2.0, deadline=1.0) == "a!deadline"


def test_a_slow_upload_may_be_overdue_on_arrival() -> None:
    """Its wait counts from the start of the upload, and may lift its tie to a busy backend."""
    wide = backend("b2", chunk_tokens=2000, kv_tokens=None)
    talk = Talk(backend("b1", chunk_tokens=800), wide, policy=Lpm())
    talk.arrive("a", "xxxxxxxx")
    talk.arrive("b", "yyy")
    slow = Arrived(request("c", "xxxxxxxx", at=-1.0))
    assert talk.say(slow, 0.0) == "c->b2"
    assert talk.dispatches["c"].reason == "direct"


@pytest.mark.parametrize("streaming", [True, False])
def test_memory_stays_flat(streaming: bool) -> None:
    """Distinct prompts come and go, faster than the engines are believed to prefill: what 2,000
    leave behind, 10,000 do not exceed."""
    config = SchedulerConfig(recent_requests=300)
    wide = {"chunk_tokens": 20_000}
    talk = Talk(
        backend("b1", kv_tokens=None, **wide),
        backend("b2", kv_tokens=20_000, **wide),
        config=config,
    )
    held: list[int] = []
    for number in range(10_000):
        now = number / 1000
        prefix = chain(str(number).encode(), b"xyz", base=1)
        asked = request(str(number), at=now, tail=310, streaming=streaming)
        assert talk.say(Arrived(structs.replace(asked, prefix=prefix)), now)
        talk.dispatches.clear()
        if number >= 8:
            talk.finish(str(number - 8), now)
        if number in {2_000, 9_999}:
            held.append(sys.getallocatedblocks())
    picture = talk.scheduler.snapshot(10.0)
    assert picture.trie_nodes <= 300 + 20_000 // 300
    assert picture.trie_blocks == 3 * picture.trie_nodes
    assert held[1] < 1.01 * held[0]
