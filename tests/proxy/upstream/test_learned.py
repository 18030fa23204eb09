"""What an engine's facts say to those who ask nothing else."""

from __future__ import annotations

import pytest

from paceline.engines.base import Facts
from paceline.proxy.config import BackendConfig
from paceline.proxy.upstream.address import parse
from paceline.proxy.upstream.directory import Entry
from paceline.proxy.upstream.learned import completed, has_restarted, spec_of


def facts(started_at: float | None = None, max_running: int | None = None) -> Facts:
    """Of an SGLang with one model."""
    return Facts(kind="sglang", models=("m",), started_at=started_at, max_running=max_running)


@pytest.mark.parametrize(
    ("before", "now", "was_down", "restarted"),
    [(1.0, 1.0, True, False), (1.0, 2.0, False, True), (None, 2.0, True, True)],
)
def test_another_start_time_is_a_restart(
    before: float | None, now: float, was_down: bool, restarted: bool
) -> None:
    """Where one is not told, having been down is."""
    assert has_restarted(facts(before), facts(now), was_down) is restarted


def test_facts_stand_where_only_models_came() -> None:
    """An engine whose other answers fail for once is not forgotten."""
    known = facts(1.0, max_running=8)
    assert completed(Facts(kind="sglang", models=("m", "lora")), known) == Facts(
        kind="sglang", models=("m", "lora"), started_at=1.0, max_running=8
    )
    assert completed(facts(2.0), known) == facts(2.0)


def test_the_configuration_has_the_last_word() -> None:
    """Its limit and its order of leaders count, not the engine's."""
    config = BackendConfig(url="http://127.0.0.1:9", name="e", max_running=4, leader_first=False)
    entry = Entry(parse(config.url, "e"), config, models=("m",), up=True)
    spec = spec_of(entry, facts(max_running=8), 0.0)
    assert (spec.max_running, spec.leader_first, spec.up) == (4, False, True)
