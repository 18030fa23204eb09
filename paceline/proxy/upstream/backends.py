"""Adds, changes, drains and removes backends while requests run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from paceline.proxy.config import BackendConfig
from paceline.proxy.upstream.address import reach
from paceline.proxy.upstream.directory import Directory, Entry
from paceline.proxy.upstream.standing import Standing

if TYPE_CHECKING:
    from paceline.proxy.serving.driver import Driver
    from paceline.proxy.upstream.monitor import Monitor
    from paceline.proxy.upstream.pool import Pool

LOOK_SECONDS = 0.1
"""How often it is looked whether a backend that leaves has ended its last request."""

log = structlog.get_logger()


class Backends:
    """The fleet; none of its changes ends a request that runs."""

    def __init__(
        self,
        directory: Directory,
        driver: Driver,
        pool: Pool,
        monitor: Monitor,
    ) -> None:
        self.directory = directory
        self._driver = driver
        self._pool = pool
        self._monitor = monitor
        self._leaving: dict[str, asyncio.Task[None]] = {}

    def put(self, config: BackendConfig) -> Entry:
        """Add a backend, or change the one of this name; raises BadAddress and changes nothing.

        One that was leaving stays; one that was drained by hand remains so.
        """
        if config.name not in self.directory:
            entry = self.directory.add(config)
            self._monitor.watch(entry)
            log.info("backend added", backend=entry.id)
            return entry
        entry = self.directory[config.name]
        before, entry.address = entry.address, reach(config)
        entry.config = config
        if self._stay(entry.id):
            entry.draining = False
        if entry.address.place != before.place:
            self._moved(entry)
        elif entry.address != before:
            self._monitor.watch(entry)
        else:
            self._monitor.refresh(entry.id)
        return entry

    def drain(self, id: str, draining: bool) -> None:
        """Send nothing more there, or go on sending; one that is leaving stays then."""
        entry = self.directory[id]
        if not draining:
            self._stay(id)
        entry.draining = draining
        self._monitor.refresh(id)
        log.info("backend drains" if draining else "backend serves again", backend=id)

    def remove(self, id: str) -> None:
        """Send nothing more there, and forget it once its last request has ended."""
        if id not in self._leaving:
            self.drain(id, True)
            self._leaving[id] = asyncio.create_task(self._see_off(id), name=f"remove {id}")

    def lost(self, id: str) -> None:
        """Its process ended: send it nothing until a health check finds another in its place."""
        if id in self.directory:
            self.directory[id].standing.healthy = False
            self._monitor.refresh(id)

    def refresh(self) -> None:
        """Tell of all backends again: the scheduler's settings changed."""
        for entry in self.directory:
            self._monitor.refresh(entry.id)

    def leaving(self, id: str) -> bool:
        """Whether it is being removed."""
        return id in self._leaving

    def in_flight(self, id: str) -> int:
        """Requests that it has and has not ended, scheduled or passed through."""
        return max(self.scheduled().get(id, 0), self._pool.in_flight(id))

    def scheduled(self) -> dict[str, int]:
        """Requests in flight that the scheduler knows of, by backend."""
        snapshot = self._driver.scheduler.snapshot(self._driver.now())
        return {one.id: one.in_flight - one.peers for one in snapshot.backends}

    def follow(self, before: Sequence[BackendConfig], now: Sequence[BackendConfig]) -> None:
        """Apply what changed between two configurations; raises BadAddress and changes nothing.

        What was changed through the API and is the same in both stays as it is.
        """
        for config in now:
            reach(config)
        old = {config.name: config for config in before}
        for config in now:
            same = old.pop(config.name, None) == config
            certified = config.ca_file or config.cert_file  # files that may have changed
            if not same or certified or self.leaving(config.name):
                self.put(config)
        for name in old:
            if name in self.directory:
                self.remove(name)

    async def close(self) -> None:
        """Wait for nobody any longer."""
        tasks = list(self._leaving.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _stay(self, id: str) -> bool:
        task = self._leaving.pop(id, None)
        if task is not None:
            task.cancel()
        return task is not None

    def _moved(self, entry: Entry) -> None:
        """Another engine has the name now."""
        entry.up = False
        entry.models = ()
        entry.standing = Standing()
        self._pool.drop(entry.id)
        self._driver.backend_reset(entry.id)
        self._monitor.watch(entry)
        log.info("backend moved", backend=entry.id)

    async def _see_off(self, id: str) -> None:
        while self.in_flight(id):
            await asyncio.sleep(LOOK_SECONDS)
        del self._leaving[id]
        self._monitor.forget(id)
        self.directory.remove(id)
        self._driver.backend_removed(id)
        self._pool.drop(id)
        log.info("backend removed", backend=id)
