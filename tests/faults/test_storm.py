"""The storm in small: random faults, random clients; the promises that must hold."""

from __future__ import annotations

from bench.faults.storm import storm


async def test_every_request_ends_once_and_nothing_leaks() -> None:
    """Whatever happens to it; and the storm was one."""
    outcome = await storm(300)
    assert outcome.broken == []
    assert outcome.words["200"] > 150
    assert len(outcome.words) >= 5
