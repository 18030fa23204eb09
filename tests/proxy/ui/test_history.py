"""What ended is counted in slots, bounded in number, by outcome and by backend."""

from __future__ import annotations

import pytest

from paceline.proxy.telemetry.record import Record
from paceline.proxy.ui.history import SLOT_SECONDS, SLOTS, WINDOW_SECONDS, History, is_failure
from paceline.proxy.ui.views import Work
from paceline.scheduler.types import Usage
from tests.proxy.ui.records import ended


def history(*records: Record) -> History:
    made = History()
    for record in records:
        made.add(record)
    return made


def test_a_slot_says_how_its_requests_fared() -> None:
    """Percentiles of TTFT, and what part of the prompts was and was believed cached."""
    made = history(ended(at=11.0), ended(at=12.0, first_byte_at=13.0), ended(at=25.0))
    first, second = made.points(30.0, offset=1000.0)
    assert (first.at, second.at) == (1010.0, 1020.0)
    assert (first.finished, first.refused, first.failed) == (2, 0, 0)
    assert first.ttft_p50 == pytest.approx(0.1, rel=0.05)
    assert first.ttft_p99 == pytest.approx(2.0, rel=0.05)
    assert (first.predicted, first.reported) == (0.6, 0.5)


def test_a_slot_goes_on_counting_until_the_next() -> None:
    """A point that was looked at is not final while its slot lasts, and is afterwards."""
    made = history(ended(at=11.0))
    assert made.points(11.0, 0.0)[0].finished == 1
    made.add(ended(at=19.0))
    assert made.points(19.0, 0.0)[0].finished == 2
    made.add(ended(at=21.0))
    assert [point.finished for point in made.points(21.0, 0.0)] == [2, 1]


def test_what_nothing_tells_is_none() -> None:
    """Answers in one piece have no first byte of their own; engines may report nothing."""
    made = history(ended(at=1.0, streaming=False, usage=Usage(prompt_tokens=1000)))
    (point,) = made.points(1.0, 0.0)
    assert (point.ttft_p50, point.predicted, point.reported) == (None, None, None)
    assert made.recent(1.0)["b"] == Work(ended=1, unreported=1)


def test_history_is_bounded() -> None:
    """Half an hour is kept; a pause makes old slots disappear too."""
    made = history(*(ended(at=slot * SLOT_SECONDS) for slot in range(SLOTS + 50)))
    now = (SLOTS + 49) * SLOT_SECONDS
    assert len(made.points(now, 0.0)) == SLOTS
    assert made.points(now + SLOTS * SLOT_SECONDS, 0.0) == []


def test_recent_work_is_by_backend() -> None:
    """Sums of five minutes: what ended before does not count."""
    made = history(
        ended(at=1.0),
        ended(at=400.0),
        ended(at=401.0, cached_tokens=100),
        ended(at=402.0, backend="c", attempts=2),
        ended(at=403.0, backend="", outcome="rejected", reason="queue_full", status=429),
    )
    recent = made.recent(400.0 + WINDOW_SECONDS - SLOT_SECONDS)
    assert set(recent) == {"b", "c", ""}
    assert recent["b"] == Work(
        ended=2, prompt=2000, predicted=700, reported=1000, missed=100, unexpected=400
    )
    assert recent["c"].retried == 1
    assert made.points(410.0, 0.0)[-1].refused == 1


def test_what_passed_through_predicts_nothing() -> None:
    """Requests that nobody scheduled are counted, not compared."""
    made = history(ended(at=1.0, dispatched_at=None))
    assert made.recent(1.0)["b"] == Work(ended=1)


@pytest.mark.parametrize(
    ("facts", "failed"),
    [
        ({}, False),
        ({"outcome": "failed", "status": 502}, True),
        ({"outcome": "failed", "status": 200}, True),
        ({"outcome": "failed", "status": 400}, False),
        ({"outcome": "rejected", "status": 503, "reason": "deadline"}, False),
        ({"outcome": "rejected", "status": 429, "reason": "queue_full"}, False),
        ({"outcome": "rejected", "status": 503, "reason": "memory"}, False),
        ({"outcome": "rejected", "status": 501, "reason": "not_implemented"}, False),
        ({"outcome": "rejected", "status": 503, "reason": "no_backend"}, True),
        ({"outcome": "rejected", "status": 500, "reason": "internal"}, True),
        ({"outcome": "cancelled", "status": 200}, False),
    ],
)
def test_failures_are_the_engines(facts: dict[str, object], failed: bool) -> None:
    """A broken stream is one, too; a client's mistake and a full queue are none."""
    assert is_failure(ended(**facts)) is failed  # type: ignore[arg-type]


def test_an_engines_refusals_are_counted_apart() -> None:
    """4xx from an engine may be clients' mistakes or a wrong key: neither finished nor failed."""
    made = history(ended(at=1.0, outcome="failed", status=401))
    assert made.recent(1.0)["b"] == Work(ended=1, declined=1)
    assert made.points(1.0, 0.0)[0].finished == 0
