"""Backends that hang are left within their time, slow ones are not; the clock is in the hand."""

from __future__ import annotations

from typing import cast

import pytest

from paceline.proxy.config import BackendConfig, UpstreamConfig
from paceline.proxy.upstream.directory import Directory
from paceline.proxy.upstream.guard import LOOK_SECONDS, Guard
from paceline.proxy.upstream.standing import Standing
from paceline.proxy.upstream.watch import Watch
from paceline.scheduler.types import BackendSpec


class Backend:
    """The watch, the driver and the connections of one backend, as the guard sees them."""

    def __init__(self, **config: float | None) -> None:
        self.time = 100.0
        self.asked_at: float | None = 100.0
        self.answers = True
        self.generating = True
        self.frozen = 0.0
        self.told: list[str] = []
        entry = Directory([BackendConfig(url="http://b", name="b")])["b"]
        entry.up = entry.standing.healthy = True
        self.entry = entry
        settings = UpstreamConfig(**config)  # type: ignore[arg-type]
        self.guard = Guard(entry, cast(Watch, self), self, self, settings)

    @property
    def standing(self) -> Standing:
        return self.entry.standing

    # The driver, which is told nothing here, and the pool

    def backend_changed(self, spec: BackendSpec) -> None:
        raise AssertionError

    def backend_reset(self, id: str) -> None:
        raise AssertionError

    def load_reported(self, id: str, running: int, waiting: int, asked_at: float) -> None:
        raise AssertionError

    def now(self) -> float:
        return self.time

    def in_flight(self, backend: str) -> int:
        return int(self.asked_at is not None)

    def broken_at(self, backend: str) -> float:
        return 0.0

    def silence(self, backend: str) -> float:
        return 0.0 if self.asked_at is None else self.time - self.asked_at

    def last_byte_at(self, backend: str) -> float | None:
        return None

    def abandon(self, backend: str) -> None:
        self.told.append("abandoned")

    # The watch

    async def reacts(self, seconds: float) -> bool:
        if not self.answers:
            self.time += seconds
        return self.answers

    async def generates(self) -> bool:
        self.told.append("generate")
        return self.generating

    def frozen_seconds(self, now: float) -> float:
        return self.frozen

    def refresh(self) -> None:
        self.entry.up = self.standing.usable(alone=False)

    # The test

    async def pass_time(self, seconds: float) -> None:
        """Look as often as the guard does."""
        end = self.time + seconds
        while self.time < end - 1e-9:
            self.time += LOOK_SECONDS
            await self.guard.look()


async def test_a_hung_backend_is_left_within_its_time() -> None:
    """It owes an answer and reacts to nothing: what waits there may go elsewhere."""
    backend = Backend()
    backend.answers = False
    await backend.pass_time(1.1)
    assert not backend.entry.up
    assert backend.told == ["abandoned"]


async def test_a_slow_backend_is_not_left() -> None:
    """A prefill of minutes is silent, but the engine answers small questions."""
    backend = Backend(stuck_seconds=None)
    await backend.pass_time(60.0)
    assert backend.entry.up
    assert backend.told == []


async def test_a_backend_that_streams_is_alive() -> None:
    """Whatever it does with questions."""
    backend = Backend()
    backend.answers = False
    for _ in range(50):
        backend.asked_at = backend.time
        await backend.pass_time(0.3)
    assert backend.entry.up


async def test_a_byte_during_the_question_saves_it() -> None:
    """What comes late is an answer too."""
    backend = Backend()

    async def too_late(seconds: float) -> bool:
        backend.time += seconds
        backend.asked_at = backend.time
        return False

    backend.reacts = too_late  # type: ignore[method-assign]
    await backend.pass_time(1.1)
    assert backend.entry.up


async def test_an_idle_backend_is_left_alone() -> None:
    """It owes nothing."""
    backend = Backend()
    backend.asked_at = None
    backend.answers = False
    await backend.pass_time(60.0)
    assert backend.entry.up


async def test_a_proxy_that_slept_blames_itself() -> None:
    """After a stop of this process, or a jump of the clock, silence counts from then."""
    backend = Backend()
    await backend.guard.look()
    backend.answers = False
    backend.time += 3600.0
    await backend.guard.look()
    assert backend.entry.up
    await backend.pass_time(1.1)
    assert not backend.entry.up


async def test_a_proxy_that_is_starved_blames_itself() -> None:
    """Where its question took longer than it may, the answer may have come unseen."""
    backend = Backend()

    async def late(seconds: float) -> bool:
        backend.time += seconds + 0.2
        return False

    backend.reacts = late  # type: ignore[method-assign]
    await backend.pass_time(5.0)
    assert backend.entry.up


async def test_hangs_may_be_ignored() -> None:
    """Without `hang_seconds` nobody is asked."""
    backend = Backend(hang_seconds=None)
    backend.answers = False
    await backend.pass_time(20.0)
    assert backend.entry.up


async def test_a_stuck_backend_is_left_when_it_does_not_generate() -> None:
    """It answers, its load stands still, not a byte comes: one token decides."""
    backend = Backend(stuck_seconds=30.0)
    backend.frozen, backend.generating = 1e9, False
    await backend.pass_time(29.0)
    assert backend.entry.up
    await backend.pass_time(1.2)
    assert not backend.entry.up
    assert "abandoned" not in backend.told


@pytest.mark.parametrize(("frozen", "generates"), [(0.0, False), (1e9, True)])
async def test_a_backend_that_works_is_not_stuck(frozen: float, generates: bool) -> None:
    """Its load changes, or it generates: that is enough."""
    backend = Backend(stuck_seconds=5.0)
    backend.frozen, backend.generating = frozen, generates
    await backend.pass_time(6.0)
    assert backend.entry.up


async def test_an_open_breaker_closes_after_a_token() -> None:
    """Its time over, the proxy tries by itself; then requests come back slowly."""
    backend = Backend()
    backend.asked_at = None
    backend.standing.breaker.again(backend.time)
    backend.refresh()
    await backend.pass_time(0.7)
    assert (backend.entry.up, backend.told) == (False, [])
    await backend.pass_time(0.7)
    assert (backend.entry.up, backend.told) == (True, ["generate"])
    assert backend.standing.breaker.trial
    limit = backend.standing.throttle.limit(backend.time)
    assert limit is not None
    assert limit <= 2


async def test_an_open_breaker_stays_open_without_one() -> None:
    """It is tried again later and later, at no client's cost."""
    backend = Backend()
    backend.asked_at, backend.generating = None, False
    backend.standing.breaker.again(backend.time)
    backend.refresh()
    await backend.pass_time(30.0)
    assert not backend.entry.up
    assert 3 <= len(backend.told) <= 5


async def test_idle_backends_are_asked_for_a_token_where_wanted() -> None:
    """At the interval given; one that fails is left."""
    backend = Backend(generate_seconds=5.0)
    backend.asked_at = None
    await backend.pass_time(11.0)
    assert backend.told == ["generate"] * 2
    backend.generating = False
    await backend.pass_time(5.0)
    assert not backend.entry.up
