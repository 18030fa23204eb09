"""Says how a backend stands and what a person should look at: thresholds, and words for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from paceline.proxy.config import Config
from paceline.proxy.ui.views import BackendState, Finding, Work
from paceline.scheduler.picture import Picture
from paceline.scheduler.snapshot import BackendSnapshot, Snapshot

Condition = Literal["ok", "idle", "full", "starving", "thrashing", "failing", "draining", "down"]

FEWEST = 10
"""Requests below which a ratio says nothing."""
MANY_FAILED = 0.05
MANY_MISSED = 0.2
"""Part of the tokens believed cached that had to be computed again. A prediction that is off by an
eighth is corrected (docs/residency.md): a fifth of all means that corrections do not keep up."""
LITTLE_ROOM = 0.05
"""Part of the KV pool."""
NEARLY_FULL = 0.8
"""Part of the queue's limits from which it is worth a word."""


def condition_of(backend: BackendSnapshot, recent: Work, wanted: bool) -> Condition:
    """The most pressing thing about a backend; `wanted`: requests wait that it could serve."""
    if not backend.up:
        return "down"
    if backend.draining:
        return "draining"
    if recent.failed > MANY_FAILED * recent.ended and recent.ended >= FEWEST:
        return "failing"
    if recent.missed > MANY_MISSED * recent.predicted and recent.ended >= FEWEST:
        return "thrashing"
    if not backend.in_flight:
        return "starving" if wanted else "idle"
    room = backend.kv_room
    full = room is not None and room < LITTLE_ROOM * (backend.kv_tokens or 0)
    return "full" if full else "ok"


def findings(
    config: Config,
    snapshot: Snapshot,
    picture: Picture,
    backends: list[BackendState],
    recent: Work,
    policy: str,
) -> list[Finding]:
    """What is wrong or soon will be, the worst first; nothing when all is well."""
    found = [
        *_of_policy(config, policy),
        *(found for state in backends for found in _of_backend(state, picture)),
        *_of_requests(recent),
        *_of_queue(config, snapshot, picture),
        *_of_reports(recent),
    ]
    return sorted(found, key=lambda finding: ("bad", "warn", "note").index(finding.level))


def _of_policy(config: Config, policy: str) -> Iterator[Finding]:
    if policy != config.policy.name:
        text = f"The policy {config.policy.name} crashed: {policy} is in use until a reload."
        yield Finding(level="bad", text=text)


def _of_backend(state: BackendState, picture: Picture) -> Iterator[Finding]:
    name, recent = state.now.id, state.recent
    if state.condition == "down":
        yield Finding(level="bad", text=f"{name} is down: it is sent nothing.")
    elif state.condition == "failing":
        text = f"{name} failed {recent.failed} of {recent.ended} requests in five minutes."
        yield Finding(level="bad", text=text)
    elif state.condition == "thrashing":
        part = recent.missed / recent.predicted
        text = f"{name} computed {part:.0%} of what was believed cached again: its KV pool"
        yield Finding(level="warn", text=f"{text} turns over faster than expected.")
    elif state.condition == "starving":
        held = sum(line.held for line in picture.queues)
        why = f"; {held} are held for a leader" if held else ""
        yield Finding(level="warn", text=f"{name} has nothing to do while requests wait{why}.")


def _of_requests(recent: Work) -> Iterator[Finding]:
    none = recent.ended - sum((recent.failed, recent.declined))
    if recent.failed and none <= 0:
        yield Finding(level="bad", text=f"All of the last {recent.ended} requests failed.")
    if recent.declined > MANY_FAILED * recent.ended and recent.ended >= FEWEST:
        text = f"Engines declined {recent.declined} of {recent.ended} requests (4xx)."
        yield Finding(level="warn", text=text)
    if recent.retried > MANY_FAILED * recent.ended and recent.ended >= FEWEST:
        text = f"{recent.retried} of {recent.ended} requests were sent a second time."
        yield Finding(level="warn", text=text)


def _of_queue(config: Config, snapshot: Snapshot, picture: Picture) -> Iterator[Finding]:
    limits = config.scheduler
    if snapshot.waiting >= NEARLY_FULL * limits.max_waiting:
        text = f"{snapshot.waiting} wait, {limits.max_waiting} may: then they are refused (429)."
        yield Finding(level="warn", text=text)
    oldest = max((line.oldest_seconds for line in picture.queues), default=0.0)
    if oldest >= NEARLY_FULL * limits.queue_seconds:
        text = f"The oldest request has waited {oldest:.0f} s; it is refused at"
        yield Finding(level="warn", text=f"{text} {limits.queue_seconds:.0f} s.")


def _of_reports(recent: Work) -> Iterator[Finding]:
    if recent.unreported >= FEWEST and not recent.prompt:
        text = (
            "No answer says how many tokens were cached, so predictions cannot be checked: start"
            " vLLM with --enable-prompt-tokens-details, SGLang with --enable-cache-report, and ask"
            " for usage in streams."
        )
        yield Finding(level="note", text=text)
