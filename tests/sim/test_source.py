"""Sessions go on when their answers are there, and no more of them than may."""

from __future__ import annotations

import pytest

from paceline.sim.record import Row
from paceline.sim.run import RunConfig, simulate
from paceline.sim.workload import Session, single
from tests.sim.dialogue import FLAT, NO_FRONTEND, engine, turn


def play(sessions: list[Session], concurrency: int | None = None) -> list[Row]:
    """On an engine whose steps take 1 s; each turn of `dialogue.turn` takes 2."""
    config = RunConfig(
        policy="fcfs",
        engine=engine(time=FLAT, kv_tokens=50_000),
        frontend=NO_FRONTEND,
        concurrency=concurrency,
    )
    return simulate(config, iter(sessions)).rows


def test_a_turn_follows_the_one_before() -> None:
    """Turn n + 1 starts its pause after turn n ended; ids tell the turns apart."""
    rows = play([Session("s", [turn(), turn(pause=1.5), turn(pause=0.25)], 3.0)])
    assert [row.id for row in rows] == ["s", "s#1", "s#2"]
    assert [row.arrival for row in rows] == pytest.approx([3.0, 3.0 + 2.0 + 1.5, 6.5 + 2.0 + 0.25])


def test_a_closed_loop_keeps_so_many_under_way() -> None:
    """With two at once the third starts when the first ends, the next when one more has ended."""
    rows = play([single(str(i), turn()) for i in range(5)], concurrency=2)
    ends = sorted(row.last or 0.0 for row in rows)
    assert [row.arrival for row in rows] == [0.0, 0.0, *ends[:3]]
    assert ends[0] == 2.0


def test_a_session_counts_until_its_last_turn() -> None:
    """With one at once the second waits for all turns of the first, pauses included."""
    rows = play([Session("a", [turn(), turn(pause=1.0)]), single("b", turn())], concurrency=1)
    assert [(row.id, row.arrival) for row in rows] == [("a", 0.0), ("a#1", 3.0), ("b", 5.0)]


def test_a_session_without_turns_is_nothing() -> None:
    """It takes no place in a closed loop."""
    rows = play([Session("empty", ()), single("b", turn())], concurrency=1)
    assert [row.id for row in rows] == ["b"]


def test_a_failed_turn_ends_its_session() -> None:
    """What does not fit the engine is not followed by the next turn, but frees its place."""
    rows = play([Session("a", [turn(60_000), turn()]), single("b", turn())], concurrency=1)
    assert [(row.id, row.last is None) for row in rows] == [("a", True), ("b", False)]
