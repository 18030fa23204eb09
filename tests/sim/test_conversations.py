"""Simulated chats: a turn finds its answer, as through the proxy."""

from __future__ import annotations

import pytest

from paceline.scheduler.events import Action, Dispatch
from paceline.sim.generators import Chat
from paceline.sim.record import Recorder
from paceline.sim.run import RunConfig, simulate
from paceline.sim.spec import Synthetic
from tests.sim.dialogue import engine

CHATS = Synthetic(generator=Chat(sessions=12, turns=6, system=300, user=100, output=300, think=2))


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_a_turn_finds_the_answer_before_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two engines with room for all: what is predicted is what is found, answers included."""
    predicted: dict[str, int] = {}

    def decided(self: Recorder, action: Action, now: float) -> None:
        if isinstance(action, Dispatch):
            predicted[action.id] = action.cached_tokens
        original(self, action, now)

    original = Recorder.decided
    monkeypatch.setattr(Recorder, "decided", decided)
    config = RunConfig(engine=engine(kind=kind, kv_tokens=200_000), backends=2)
    rows = {row.id: row for row in simulate(config, CHATS.open(0)[0]).rows}
    turns = [(rows[id], predicted[id]) for id in rows if "#" in id]
    assert len(turns) > 40
    found = sum(row.cached for row, _ in turns)
    assert sum(tokens for _, tokens in turns) == pytest.approx(found, rel=0.1)
    moved = [row for row, _ in turns if row.backend != rows[row.id.partition("#")[0]].backend]
    assert len(moved) < len(turns) / 10
