"""A policy that fails costs no request: the base class answers in its place."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any

import pytest

from paceline.policies.fcfs import Fcfs
from paceline.policies.guard import GUARDS, guard
from paceline.scheduler.policy import Policy, View
from tests.scheduler.dialogue import Talk, backend

NAN = float("nan")


OTHERS: dict[str, dict[str, Callable[..., Any]]] = {
    "rank": {"bucket": lambda self, request, view: request.id},
    "turn": {"share": lambda self, request: request.id},
}
"""What else a policy has to have, to be asked at all."""


def answers(method: str, answer: Callable[..., Any]) -> Policy:
    """A policy whose method is this."""
    cls = type("Broken", (Policy,), {**OTHERS.get(method, {}), method: answer})
    policy: Policy = cls()
    return policy


def raises(*args: Any) -> Any:
    raise RuntimeError("a defect")


def serve(policy: Policy) -> tuple[list[str], str]:
    """Who crashed, and the order in which three requests went to one engine."""
    crashed: list[str] = []
    talk = Talk(
        backend(kv_tokens=None, chunk_tokens=100),
        policy=guard(policy, lambda name, error: crashed.append(name)),
    )
    said = [talk.arrive("a", "xy")]
    said += [talk.arrive(id, "pq", at=at) for id, at in (("b", 1.0), ("c", 2.0))]
    said += [talk.first_byte("a", 3.0), talk.finish("a", 3.5)]
    if crashed:  # what the proxy does as soon as it hears of it
        said += [" ".join(a.id + "->b" for a in talk.scheduler.use(Fcfs(), 4.0))]
    said += [talk.first_byte("b", 5.0), talk.finish("b", 6.0), talk.finish("c", 7.0)]
    return crashed, " ".join(filter(None, said))


@pytest.mark.parametrize("method", GUARDS)
def test_every_method_may_raise(method: str) -> None:
    """Whatever raises, each request goes exactly once, the first first."""
    crashed, served = serve(answers(method, raises))
    assert set(crashed) == {method}
    assert served == "a->b b->b c->b"


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("order", None),
        ("order", (NAN,)),
        ("order", ("a",)),
        ("order", [1.0]),
        ("rank", 1.0),
        ("turn", "a"),
        ("share", 5),
        ("bucket", []),
        ("place", "b"),
        ("walk", 1),
    ],
)
def test_an_answer_that_cannot_be_used_is_a_crash(method: str, answer: object) -> None:
    """A key that cannot be compared would break the queue later, where nobody could tell why."""
    crashed, served = serve(answers(method, lambda *args: answer))
    assert set(crashed) == {method}
    assert served == "a->b b->b c->b"


def test_a_walk_may_raise_under_way() -> None:
    """It ends there; what it has not found goes after the change of policy."""

    class Stumbles(Policy):
        def walk(self, view: View) -> Iterator[Hashable]:
            yield "nowhere"
            raise RuntimeError("a defect")

    crashed, served = serve(Stumbles())
    assert set(crashed) == {"walk"}
    assert served == "a->b b->b c->b"


def test_a_sound_policy_is_left_in_peace() -> None:
    """Its answers pass, also that of having no walk; what it inherits is not even looked at."""

    class Sound(Policy):
        def order(self, request: Any, view: View) -> tuple[float, ...]:
            return (-request.arrived_at,)

        def walk(self, view: View) -> None:
            return None

        def overdue(self, request: Any, view: View) -> bool:
            return False

        def place(self, request: Any, view: View) -> Any:
            return view.backends[0]

    policy = Sound()
    crashed, served = serve(policy)
    assert (crashed, served) == ([], "a->b c->b b->b")
    assert set(vars(policy)) == {"order", "walk", "overdue", "place"}


def test_an_end_of_a_walk_is_no_crash() -> None:
    """Buckets come as the policy names them."""

    class Walks(Policy):
        def walk(self, view: View) -> Iterator[Hashable]:
            yield 0

    assert serve(Walks()) == ([], "a->b b->b c->b")
