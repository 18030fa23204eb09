"""Decisions are shown with their reasons, and with what became of them."""

from __future__ import annotations

from paceline.proxy.ui.ledger import DECISIONS, FAILURES, Ledger
from paceline.scheduler.events import Arrived, Dispatch, Reject
from paceline.scheduler.picture import Inspector
from tests.proxy.ui.records import ended
from tests.scheduler.dialogue import Talk, request


def arrive(talk: Talk, ledger: Ledger, id: str, prefix: str, at: float, **more: object) -> None:
    """A request arrives, and the ledger hears what was decided."""
    event = Arrived(request(id, prefix, at=at, **more))  # type: ignore[arg-type]
    ledger.decided(talk.scheduler.handle(event, at), at)


def test_a_decision_is_known_before_the_end() -> None:
    """Whose request, of which family, where it went and why; later what became of it."""
    talk = Talk()
    ledger = Ledger(Inspector(talk.scheduler))
    arrive(talk, ledger, "a", "sys", 1.0, tenant="acme")
    arrive(talk, ledger, "b", "sys", 2.0, tenant="acme")
    newest, first = ledger.decisions(offset=1000.0)
    assert (newest.id, first.id, first.at) == ("b", "a", 1001.0)
    assert (first.reason, first.why) == ("direct", "it did not have to wait")
    assert (first.backend, first.model, first.tenant) == ("b", "m", "acme")
    assert (first.family, newest.predicted) == (newest.family, 300)
    assert first.family
    assert (first.outcome, first.reported, first.ttft) == ("", None, None)
    ledger.ended(ended("b", at=3.0))
    newest, first = ledger.decisions(offset=1000.0)
    assert (newest.outcome, newest.reported, newest.prompt_tokens) == ("finished", 500, 1000)
    assert newest.ttft is not None
    assert first.outcome == ""


def test_a_refusal_is_a_decision() -> None:
    """It names no backend; whose request it was is known once it has ended."""
    talk = Talk()
    ledger = Ledger(Inspector(talk.scheduler))
    arrive(talk, ledger, "a", "sys", 1.0, model="nobody's")
    (refused,) = ledger.decisions(0.0)
    assert (refused.reason, refused.backend, refused.model) == ("unknown_model", "", "")
    assert refused.why == "refused: no backend serves the model"
    record = ended("a", model="nobody's" * 20, outcome="rejected", status=404, first_byte_at=None)
    ledger.ended(record)
    (refused,) = ledger.decisions(0.0)
    assert refused.outcome == "rejected"
    assert refused.model == ("nobody's" * 20)[:80] + "..."
    assert ledger.failures(0.0) == []


def test_failures_are_kept() -> None:
    """Status, reason and backend of the last ones, newest first."""
    ledger = Ledger(Inspector(Talk().scheduler))
    ledger.ended(ended("good", at=1.0))
    ledger.ended(ended("bad", at=2.0, outcome="failed", status=502, reason="engine_failed"))
    ledger.ended(ended("worse", at=3.0, outcome="failed", status=401, attempts=2))
    worse, bad = ledger.failures(offset=10.0)
    assert (bad.id, bad.at, bad.status, bad.reason) == ("bad", 12.0, 502, "engine_failed")
    assert (worse.id, worse.status, worse.backend, worse.attempts) == ("worse", 401, "b", 2)


def test_the_ledger_is_bounded() -> None:
    """Thousands of decisions and failures leave the last few."""
    ledger = Ledger(Inspector(Talk().scheduler))
    for number in range(1000):
        ledger.decided([Dispatch(str(number), "b", 0, 0.0, "warm")], 0.0)
        ledger.decided([Reject(f"r{number}", "queue_full")], 0.0)
        ledger.ended(ended(str(number), outcome="failed", status=500))
    assert len(ledger.decisions(0.0)) == DECISIONS
    assert len(ledger.failures(0.0)) == FAILURES
