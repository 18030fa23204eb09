"""Lines take turns, and who is first among them is found without asking them all."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.policies.fair import Fair
from paceline.scheduler.entry import Entry
from paceline.scheduler.line import OPEN, Line
from paceline.scheduler.policy import View
from paceline.scheduler.rota import LOOK, Rota
from paceline.scheduler.scheduler import Scheduler
from paceline.scheduler.types import Request
from tests.scheduler.dialogue import Talk, backend, request
from tests.scheduler.test_direct import Story, arrivals, others, tell
from tests.scheduler.test_properties import CONFIG, facts


class Turns:
    """Lines by name in a rota, with turns that the test sets."""

    def __init__(self, **turns: float) -> None:
        self.turns = turns
        self.rota = Rota(lambda line: (-line.tier, self.turns[line.share]))
        self.lines = {name: Line(0.0, name, 0.0) for name in turns}
        self._count = 0
        for line in self.lines.values():
            self.rota.join(line)

    def wait(self, name: str, key: float) -> Entry:
        """An entry with this key in that line."""
        self._count += 1
        entry = Entry(request(f"{name}{self._count}"), self._count)
        entry.wait()
        entry.key = (key,)
        self.lines[name].ages[entry] = None
        self.lines[name].push(entry, OPEN)
        return entry

    def leave(self, entry: Entry) -> None:
        """It goes away."""
        entry.version += 1

    def order(self) -> list[str]:
        """The first entry of each round, each by the name of its line."""
        heads = [round.first([OPEN]) for round in self.rota]
        return [head[4].share for head in heads if head is not None]


def test_rounds_come_in_order() -> None:
    """Lines of the same turn go together, the smallest key first."""
    turns = Turns(a=1.0, b=0.0, c=0.0)
    for name, key in [("a", 0.0), ("b", 2.0), ("c", 1.0)]:
        turns.wait(name, key)
    assert turns.order() == ["c", "a"]


def test_the_next_one_comes_up() -> None:
    """When a line's first entry goes, its second counts; a smaller newcomer counts at once."""
    turns = Turns(a=0.0, b=0.0)
    first = turns.wait("a", 0.0)
    turns.wait("a", 3.0)
    turns.wait("b", 2.0)
    assert turns.order() == ["a"]
    turns.leave(first)
    assert turns.order() == ["b"]
    turns.wait("a", 1.0)
    assert turns.order() == ["a"]


def test_a_turn_that_grew_is_found_when_asked() -> None:
    """The line goes to its new round, and its entries with it."""
    turns = Turns(a=0.0, b=0.0)
    turns.wait("a", 0.0)
    turns.wait("b", 1.0)
    turns.turns["a"] = 5.0
    assert not turns.rota.stays(turns.lines["a"])
    assert turns.rota.stays(turns.lines["b"])
    assert turns.order() == ["b", "a"]


def test_a_round_ends_with_its_last_line() -> None:
    """Also while the rounds are gone through."""
    turns = Turns(a=0.0, b=1.0, c=2.0)
    seen = []
    for round in turns.rota:
        seen.append(round.turn[1])
        if round.turn[1] == 0.0:
            turns.turns["a"] = 2.0
            turns.rota.stays(turns.lines["a"])
    assert seen == [0.0, 1.0, 2.0]
    for line in turns.lines.values():
        turns.rota.drop(line)
    assert not list(turns.rota)


def test_many_lines_are_asked_in_rotation() -> None:
    """Some at a time, and all of them in turn."""
    turns = Turns(**{f"t{number}": 0.0 for number in range(3 * LOOK)})
    (round,) = turns.rota
    asked = [line.share for _ in range(3) for line in round.some()]
    assert asked == list(turns.turns)
    assert [line.share for line in round.some()] == asked[:LOOK]


def test_heads_that_went_are_forgotten() -> None:
    """Newcomers that are first and leave again do not pile up."""
    turns = Turns(a=0.0, b=0.0)
    turns.wait("b", 0.5)
    for number in range(1000):
        turns.leave(turns.wait("a", -float(number)))
    (round,) = turns.rota
    assert len(round._heads[OPEN]) < 80
    assert turns.order() == ["b"]


class Asking(Fair):
    """Fair, with a bucket of its own, so that all lines are asked at every decision."""

    def bucket(self, request: Request, view: View) -> int:
        return 0


more = st.fixed_dictionaries(
    {
        "streaming": st.booleans(),
        "priority": st.integers(-1, 1),
        "tenant": st.sampled_from([f"t{number}" for number in range(8)]),
    }
)
tenants = arrivals.flatmap(lambda each: more.map(lambda facts: (*each[:4], facts, each[5])))


@given(
    backends=st.lists(facts, min_size=1, max_size=2),
    story=st.lists(st.one_of(tenants, tenants, others), min_size=5, max_size=60),
)
@settings(max_examples=200, deadline=None)
def test_decides_as_if_all_were_asked(backends: list[Any], story: Story) -> None:
    """With as many lines as are looked at, every decision is that of asking each of them."""
    specs = [backend(f"b{number}", **facts) for number, facts in enumerate(backends)]
    lazy = tell(Scheduler(CONFIG, Fair(quantum=150.0)), specs, story)
    assert lazy == tell(Scheduler(CONFIG, Asking(quantum=150.0)), specs, story)


def test_many_tenants_take_turns() -> None:
    """Each of 40 has two requests, one right behind the other, and a quantum of one."""
    talk = Talk(backend(kv_tokens=None, chunk_tokens=1), policy=Fair(quantum=5.0))
    talk.arrive("busy", "hot")
    for number in range(40):
        for turn in "ab":
            talk.arrive(f"{turn}{number}", "hot", at=0.1, tenant=f"t{number}")
    order = ["busy"]
    for id in order:
        order += talk.first_byte(id, 0.2).replace("->b", "").split()
    assert order[1:] == [f"{turn}{number}" for turn in "ab" for number in range(40)]


def test_an_overdue_one_among_many_is_found() -> None:
    """Of 100 tenants in one round, one that waited too long goes within as many decisions as it
    takes to ask them all."""
    talk = Talk(backend(kv_tokens=None, chunk_tokens=1), policy=Fair(quantum=1e9))
    talk.arrive("busy", "hot")
    talk.arrive("cold", "x", at=0.1, tenant="cold")
    for number in range(100):
        talk.arrive(f"t{number}", "hot", at=60.0, tenant=f"t{number}")
    order = ["busy"]
    while "cold" not in order:
        order += talk.first_byte(order[-1], 60.1).replace("->b", "").split()
    assert len(order) <= 2 + 101 // LOOK
    assert talk.dispatches["cold"].reason == "overdue"
