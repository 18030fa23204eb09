"""No order by prefix or size lets anybody wait longer than some recent mean waits."""

from __future__ import annotations

import pytest

from paceline.policies.auto import Auto
from paceline.policies.bounded import MIN_BOUND, Bounded
from paceline.policies.dfs_weight import DfsWeight
from paceline.policies.fair import Fair
from paceline.policies.hrrn import Hrrn
from paceline.policies.k_lpm import KLpm
from paceline.policies.lpm import Lpm
from paceline.policies.shortest_prefill_first import ShortestPrefillFirst
from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.events import (
    Arrived,
    BackendChanged,
    Event,
    Finished,
    FirstByte,
    Reject,
)
from paceline.scheduler.scheduler import Scheduler
from paceline.scheduler.types import Usage
from tests.scheduler.dialogue import backend, request

BOUNDED = [Auto, DfsWeight, Fair, Hrrn, KLpm, Lpm, ShortestPrefillFirst]
HOUR = 3600.0
SERVICE = 0.25
"""Seconds a request takes; one runs at a time."""


class Hour:
    """A backend that serves four requests a second is sent as many: one in forty is cold, the
    others are of one hot family. A burst of 40 at the start keeps a backlog."""

    def __init__(self, policy: Bounded) -> None:
        self.scheduler = Scheduler(SchedulerConfig(), policy)
        self.running: list[str] = []
        self.waits: dict[str, float] = {}
        self.expired: list[str] = []
        self.worst = 0.0
        """Largest wait of a cold request in bounds at its dispatch."""
        self.policy = policy
        spec = backend(kv_tokens=None, max_running=1, chunk_tokens=400)
        self.feed(BackendChanged(spec), 0.0)
        for number in range(40):
            self.feed(Arrived(request(f"burst{number}", "hot", tail=number)), 0.0)

    def feed(self, event: Event, now: float) -> None:
        mean = self.scheduler.snapshot(now).mean_wait_seconds
        for action in self.scheduler.handle(event, now):
            if isinstance(action, Reject):
                self.expired.append(action.id)
                continue
            self.running.append(action.id)
            self.waits[action.id] = action.waited
            if action.id.startswith("cold"):
                bound = max(MIN_BOUND, self.policy.max_wait_factor * mean)
                self.worst = max(self.worst, action.waited / bound)

    def play(self) -> None:
        for step in range(int(HOUR / SERVICE)):
            now = step * SERVICE
            if step % 40:
                self.feed(Arrived(request(f"hot{step}", "hot", at=now)), now)
            else:
                self.feed(Arrived(request(f"cold{step}", f"{step}xyz", at=now)), now)
            if self.running:
                id = self.running.pop(0)
                self.feed(FirstByte(id), now + 0.24)
                self.feed(Finished(id, Usage(output_tokens=20)), now + 0.24)


@pytest.mark.parametrize("policy", BOUNDED)
def test_a_cold_request_gets_its_turn(policy: type[Bounded]) -> None:
    """In an hour of a hot family, each cold request goes once it waited `max_wait_factor` times the
    recent mean, give or take the service of the one before it."""
    hour = Hour(policy())
    hour.play()
    cold = [id for id in hour.waits if id.startswith("cold")]
    assert len(cold) >= 358, "but for the last, all were served"
    assert hour.worst < 1.05
    assert max(hour.waits.values()) < 40.0


def test_without_the_bound_lpm_starves() -> None:
    """The same hour with the bound out of reach: cold requests reach the queue's deadline."""
    hour = Hour(Lpm(max_wait_factor=1e9))
    hour.play()
    assert hour.expired
    assert all(id.startswith("cold") for id in hour.expired)
