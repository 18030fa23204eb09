"""Looks ten times a second whether a backend hangs, and carries out what time changes."""

from __future__ import annotations

import asyncio

import structlog

from paceline.proxy.config import UpstreamConfig
from paceline.proxy.upstream.directory import Entry
from paceline.proxy.upstream.watch import Requests, Sink, Watch

LOOK_SECONDS = 0.1
LATE_SECONDS = 0.3
"""A look that comes so late finds a process that was stopped or starved: this one."""
SUSPECT = 0.4
"""Part of `hang_seconds` after which a silent backend is asked whether it is there; the rest is
how long it has to react."""

log = structlog.get_logger()


class Guard:
    """Beside the watch of the same backend, and quicker: it asks only in case of doubt."""

    def __init__(
        self, entry: Entry, watch: Watch, sink: Sink, requests: Requests, config: UpstreamConfig
    ) -> None:
        self._entry = entry
        self._standing = entry.standing
        self._watch = watch
        self._now = sink.now
        self._requests = requests
        self._config = config
        self._log = log.bind(backend=entry.id)
        self._looked_at: float | None = None
        self._awake_since = 0.0
        """Since when this process runs without a pause."""
        self._generated_at = sink.now()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except Exception:
                self._log.exception("guard failed")  # one that ends would leave its backend alone

    async def look(self) -> None:
        """One look at all that can have changed."""
        now = self._now()
        if self._looked_at is None or now > self._looked_at + LATE_SECONDS:
            self._awake_since = now
        if self._entry.up:
            await self._look_at_silence(now)
            await self._look_at_generation(now)
        if self._standing.breaker.due(now):
            await self._try_again()
        self._watch.refresh()
        self._looked_at = self._now()

    async def _look_at_silence(self, now: float) -> None:
        """Whoever owes answers and does not even react to a small question hangs."""
        hang = self._config.hang_seconds
        if hang is None or self._silence(now) < SUSPECT * hang:
            return
        seconds = (1.0 - SUSPECT) * hang
        if await self._watch.reacts(seconds):
            return
        after = self._now()
        starved = after > now + seconds + LOOK_SECONDS  # then the answer may lie there unread
        if not starved and self._silence(after) >= hang - LOOK_SECONDS:
            self._log.warning("backend hangs", silent_seconds=round(self._silence(after), 1))
            self._standing.hung = True
            self._watch.refresh()
            self._requests.abandon(self._entry.id)

    def _silence(self, now: float) -> float:
        return min(self._requests.silence(self._entry.id), now - self._awake_since)

    async def _look_at_generation(self, now: float) -> None:
        """It reacts, but does it work?"""
        every, stuck = self._config.generate_seconds, self._config.stuck_seconds
        if self._requests.in_flight(self._entry.id):
            frozen = min(self._silence(now), self._watch.frozen_seconds(now))
            doubtful = stuck is not None and frozen >= stuck
        else:
            doubtful = every is not None and now >= self._generated_at + every
        if doubtful and not await self._generates():
            self._log.warning("backend does not generate")
            self._standing.breaker.again(self._now())

    async def _try_again(self) -> None:
        """The breaker has been open long enough: try with a request of our own first."""
        if await self._generates():
            self._standing.throttle.returned(self._now())
            self._standing.breaker.half_open()
        else:
            self._standing.breaker.again(self._now())

    async def _generates(self) -> bool:
        answer = await self._watch.generates()
        self._generated_at = self._now()
        return answer
