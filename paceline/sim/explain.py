"""Says in words why one request waited: in the proxy, at the engine, and behind whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from paceline.scheduler.choice import REASONS
from paceline.sim.experiment import Outcome
from paceline.sim.record import Row
from paceline.sim.run import NO_PROXY

REFUSALS = {
    "queue_full": "the queue was full",
    "deadline": "it had waited as long as it may",
    "unknown_model": "no backend serves the model",
    "too_long": "it does not fit the engine's KV pool",
}
"""Why a request was not served."""


class UnknownRequest(Exception):
    """No request has that id; the message names some that exist."""


def explain(outcome: Outcome, request: str) -> str:
    """The story of one request; UnknownRequest."""
    row = next((row for row in outcome.rows if row.id == request), None)
    if row is None:
        some = ", ".join(row.id for row in outcome.rows[:3])
        raise UnknownRequest(f"no request `{request}`; there are {some} ...")
    lines = [_what(row, outcome)]
    if row.dispatched is not None:
        lines += _queue(row, row.dispatched, outcome.rows)
    if row.first is not None:
        lines += _engine(row, outcome.rows)
    if row.last is None:
        lines.append(f"It was not served: {REFUSALS[row.reason]}.")
    return "\n".join(lines)


def _what(row: Row, outcome: Outcome) -> str:
    policy = outcome.config.policy
    how = "without a proxy" if policy == NO_PROXY else f"under {policy}"
    family = f", family {row.family}" if row.family else ""
    return f"{row.id}{family}: {row.prompt} prompt tokens, at {row.arrival:.3f} s, {how}."


def _queue(row: Row, dispatched: float, rows: list[Row]) -> list[str]:
    """What happened while it was in the proxy's queue."""
    waited = dispatched - row.arrival
    reason = REASONS.get(row.reason, row.reason)
    lines = [f"It waited {waited:.3f} s in the proxy and went to {row.backend}: {reason}."]
    ahead = [other for other in rows if _went(other, row.arrival, dispatched) and other is not row]
    if not ahead:
        return lines
    tokens = sum(other.prompt for other in ahead)
    lines.append(f"Meanwhile {len(ahead)} others went, with {tokens} prompt tokens:")
    lines.append(f"  because {_counted(other.reason for other in ahead)};")
    younger = [other for other in ahead if other.arrival > row.arrival]
    own = [other for other in ahead if row.family and other.family == row.family]
    lines.append(f"  {len(younger)} of them had arrived later, {len(own)} are of its family.")
    return lines


def _engine(row: Row, rows: list[Row]) -> list[str]:
    """What stood before it at the engine."""
    assert row.dispatched is not None
    assert row.first is not None
    there = [
        other
        for other in rows
        if other.backend == row.backend
        and other is not row
        and other.dispatched is not None
        and other.dispatched <= row.dispatched
        and (other.last is None or other.last > row.dispatched)
    ]
    begun = sum(other.first is not None and other.first <= row.dispatched for other in there)
    new = row.prompt - row.cached
    return [
        f"At {row.backend} it found {begun} answering and {len(there) - begun} before their first "
        f"token; its own came {row.first - row.dispatched:.3f} s later.",
        f"{row.cached} of its tokens were cached there, {new} were computed.",
    ]


def _went(other: Row, start: float, end: float) -> bool:
    return other.dispatched is not None and start <= other.dispatched < end


def _counted(reasons: Iterable[str]) -> str:
    return ", ".join(
        f"{REASONS.get(reason, reason)} ({count})"
        for reason, count in Counter(reasons).most_common()
    )
