"""The parent knows what all workers together have going on at a backend."""

from __future__ import annotations

import asyncio
from typing import cast

from paceline.proxy.config import UpstreamConfig
from paceline.proxy.upstream.pool import Pool
from paceline.proxy.workers.messages import Abandoned, Moved, ToWorker, Traffic
from paceline.proxy.workers.traffic import Reporter, SharedPool


class Busy:
    """A pool as the reporter sees it."""

    def __init__(self) -> None:
        self.requests = {"a": 0, "b": 0}
        self.heard_at: dict[str, float] = {}

    def in_flight(self, backend: str) -> int:
        return self.requests[backend]

    def last_byte_at(self, backend: str) -> float | None:
        return self.heard_at.get(backend)

    def now(self) -> float:
        return 10.0

    def silence(self, backend: str) -> float:
        return 2.5 if self.requests[backend] else 0.0

    def broken_at(self, backend: str) -> float:
        return 0.0


def test_a_worker_tells_what_changed_and_nothing_else() -> None:
    """A thousand idle backends cost nothing."""
    pool = Busy()
    reporter = Reporter(cast(Pool, pool), lambda: pool.requests)
    assert reporter.changes() == [Traffic("a", 0, None), Traffic("b", 0, None)]
    assert reporter.changes() == []
    pool.requests["a"] = 2
    pool.heard_at["b"] = 1.5
    assert reporter.changes() == [Traffic("a", 2, None, 7.5), Traffic("b", 0, 1.5)]


async def test_the_parent_adds_up() -> None:
    """Requests are summed, the last byte is the latest; a worker that is gone has none."""
    pool = SharedPool(UpstreamConfig(), asyncio.get_running_loop())
    told: list[ToWorker] = []
    pool.tell = told.append
    assert (pool.in_flight("a"), pool.last_byte_at("a")) == (0, None)
    pool.note(1, Traffic("a", 2, 5.0))
    pool.note(2, Traffic("a", 3, 7.0))
    assert (pool.in_flight("a"), pool.last_byte_at("a")) == (5, 7.0)
    assert pool.broken_at("a") == 0.0
    pool.forget_worker(2)
    assert (pool.in_flight("a"), pool.last_byte_at("a")) == (2, 5.0)
    pool.drop("a")
    assert (pool.in_flight("a"), pool.last_byte_at("a")) == (0, None)
    pool.abandon("a")
    assert told == [Moved("a"), Abandoned("a")]


async def test_silence_is_broken_by_any_byte_to_any_worker() -> None:
    """It owes answers since the first of them was asked, or since it last sent something."""
    pool = SharedPool(UpstreamConfig(), asyncio.get_running_loop())
    pool.now = lambda: 10.0
    assert pool.silence("a") == 0.0
    pool.note(1, Traffic("a", 1, None, silent_since=4.0))
    pool.note(2, Traffic("a", 1, None, silent_since=6.0))
    assert pool.silence("a") == 6.0
    pool.note(2, Traffic("a", 0, 9.0, broken_at=3.0))
    assert pool.silence("a") == 1.0
    assert pool.broken_at("a") == 3.0
