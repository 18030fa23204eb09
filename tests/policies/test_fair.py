"""Tenants take turns in quanta of work."""

from __future__ import annotations

import pytest

from paceline.policies.auto import Auto
from paceline.policies.fair import Fair
from tests.policies.lineup import LineUp
from tests.scheduler.dialogue import Talk, backend


@pytest.mark.parametrize("policy", [Fair, Auto])
def test_a_flood_does_not_delay_the_others(policy: type[Fair]) -> None:
    """Each tenant goes until its quantum of 200 is used up: two requests of 110 uncached tokens."""
    line = LineUp(policy(quantum=200.0))
    for number in range(6):
        line.wait(f"r{number}", chr(ord("p") + number), tenant="red")
    for number in range(2):
        line.wait(f"b{number}", chr(ord("P") + number), tenant="blue")
    assert line.all(0.2) == "r0 r1 b0 b1 r2 r3 r4 r5"


def test_in_a_round_the_match_decides() -> None:
    """All whose quantum is not used up go together, longest match first; cached tokens are free."""
    line = LineUp(Fair(quantum=300.0))
    for id, prefix in [("r1", "xyz"), ("r2", "uvw"), ("r3", "uvw")]:
        line.wait(id, prefix, tenant="red")
    for id, prefix in [("b1", "ABC"), ("b2", "ABCD")]:
        line.wait(id, prefix, tenant="blue")
    assert line.all(0.2) == "b2 b1 r1 r2 r3"


def test_a_better_match_passes_another_tenants_big_request() -> None:
    """While both have their turn, one that does not fit holds up only those behind it in order."""
    talk = Talk(backend(chunk_tokens=4000), policy=Fair())
    assert talk.arrive("running", "xxxxxx", tenant="red") == "running->b"
    assert talk.arrive("big", "yyyyyy", tenant="red") == ""
    assert talk.arrive("cold", "z", tenant="blue") == ""
    assert talk.arrive("warm", "xxxxxx", tenant="blue") == "warm->b"


def test_weights() -> None:
    """A tenant of weight 2 gets twice the work."""
    line = LineUp(Fair(quantum=150.0, weights={"red": 2.0}))
    for number in range(4):
        line.wait(f"r{number}", chr(ord("p") + number), tenant="red")
        line.wait(f"b{number}", chr(ord("P") + number), tenant="blue")
    assert line.all(0.2) == "r0 b0 r1 r2 b1 b2 r3 b3"


def test_nobody_saves_up() -> None:
    """A tenant that was away joins the present round: no burst of its own before the others."""
    line = LineUp(Fair(quantum=200.0))
    for number in range(20):
        line.wait(f"r{number}", chr(ord("a") + number), tenant="red")
    for _ in range(10):
        line.next(0.2)
    for number in range(3):
        line.wait(f"b{number}", chr(ord("P") + number), at=0.3, tenant="blue")
    assert line.all(0.4).startswith("b0 b1 r10 b2 ")


def test_memory_is_bounded() -> None:
    """Of tenants that do not wait only the last ones are kept, and those only while they owe."""
    policy = Fair(quantum=40.0)
    line = LineUp(policy)
    for number in range(5000):
        line.wait(f"r{number}", "", at=number, tenant=f"t{number}")
        line.next(number)
    assert len(policy._accounts) < 2200
    assert not any(account.waiting for account in policy._accounts.values())
