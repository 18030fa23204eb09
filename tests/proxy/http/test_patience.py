"""One timer serves many waits."""

from __future__ import annotations

import asyncio
from typing import cast

from paceline.proxy.http.patience import Patience


class Loop:
    """A loop whose time the test tells; counts its timers."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, asyncio.TimerHandle]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: object) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, (), asyncio.get_running_loop())  # type: ignore[arg-type]
        self.timers.append((when, timer))
        return timer

    def until(self, now: float) -> None:
        """Time goes on."""
        self.now = now
        due = [pair for pair in self.timers if pair[0] <= now]
        self.timers = [pair for pair in self.timers if pair[0] > now]
        for _, timer in due:
            if not timer.cancelled():
                timer._run()


def patience() -> tuple[Patience, Loop, list[float]]:
    """Patience, its loop, and the instants at which it ended."""
    loop, late = Loop(), list[float]()
    kept = Patience(cast(asyncio.AbstractEventLoop, loop), lambda: late.append(loop.now))
    return kept, loop, late


async def test_it_ends_once() -> None:
    """At the instant that was set."""
    kept, loop, late = patience()
    kept.wait(5)
    loop.until(4.9)
    loop.until(5.0)
    loop.until(50.0)
    assert late == [5.0]


async def test_a_later_instant_takes_no_new_timer() -> None:
    """Most waits end before their time: their timer is left as it is."""
    kept, loop, late = patience()
    for now in range(5):
        loop.until(float(now))
        kept.wait(5)
    assert len(loop.timers) == 1
    loop.until(5.0)
    assert late == []
    loop.until(9.0)
    assert late == [9.0]


async def test_an_earlier_instant_counts() -> None:
    """A body has less time than an idle connection."""
    kept, loop, late = patience()
    kept.wait(30)
    kept.wait(1)
    loop.until(1.0)
    assert late == [1.0]


async def test_no_wait_no_end() -> None:
    """Neither while a request is answered, nor after the connection."""
    kept, loop, late = patience()
    kept.wait(1)
    kept.rest()
    loop.until(2.0)
    kept.wait(1)
    kept.end()
    loop.until(9.0)
    assert late == []
