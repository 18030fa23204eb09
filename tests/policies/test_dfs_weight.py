"""Depth first, the heavier branch first."""

from __future__ import annotations

from paceline.policies.dfs_weight import ROOT, DfsWeight
from paceline.scheduler.events import Cancelled
from tests.policies.lineup import LineUp


def test_the_largest_family_goes_first_and_whole() -> None:
    """Weights count who waits; an equal branch does not interrupt one that was begun."""
    line = LineUp(DfsWeight())
    for id, prefix in [("x1", "x"), ("y1", "y"), ("y2", "y"), ("x2", "x"), ("y3", "y")]:
        line.wait(id, prefix)
    assert line.all(0.2) == "y1 y2 y3 x1 x2"


def test_children_go_before_their_parents_own() -> None:
    """`p` ends where the others go on; the heavier child `pb` goes first."""
    line = LineUp(DfsWeight())
    for id, prefix in [("p", "p"), ("pa", "pa"), ("pb1", "pb"), ("pb2", "pb"), ("none", "")]:
        line.wait(id, prefix)
    assert line.all(0.2) == "pb1 pb2 pa p none"


def test_the_walk_goes_on_where_it_was() -> None:
    """A family that has become heavier waits until the present one is done."""
    line = LineUp(DfsWeight())
    for id, prefix in [("x1", "x"), ("x2", "x"), ("y1", "y")]:
        line.wait(id, prefix)
    assert line.next(0.2) == "x1"
    for number in range(2, 6):
        line.wait(f"y{number}", "y", at=0.3)
    assert line.all(0.4) == "x2 y1 y2 y3 y4 y5"


def test_who_leaves_weighs_nothing() -> None:
    """Cancelled requests are taken out of the tree, and nothing is left of it in the end."""
    policy = DfsWeight()
    line = LineUp(policy)
    for id, prefix in [("x1", "x"), ("y1", "y"), ("y2", "yz")]:
        line.wait(id, prefix)
    line.talk.say(Cancelled("y1"), 0.15)
    line.talk.say(Cancelled("y2"), 0.15)
    assert line.all(0.2) == "x1"
    assert list(policy._tree) == [ROOT]
    assert not policy._tree[ROOT].children
