"""Runs one watch and one guard a backend on the event loop, from `start` to `close`."""

from __future__ import annotations

import asyncio

import aiohttp

from paceline.proxy.config import UpstreamConfig
from paceline.proxy.directory import Directory
from paceline.proxy.guard import Guard
from paceline.proxy.probe import Probe, open_session
from paceline.proxy.watch import Requests, Sink, Watch


class Monitor:
    """Keeps the directory and the scheduler informed about all backends."""

    def __init__(
        self, directory: Directory, sink: Sink, requests: Requests, config: UpstreamConfig
    ) -> None:
        self._directory = directory
        self._sink = sink
        self._requests = requests
        self._config = config
        self._session: aiohttp.ClientSession | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to watch; must be called on the running loop, once."""
        self._session = session = open_session()
        timeout = self._config.probe_timeout_seconds
        for entry in self._directory:
            probe = Probe(session, entry.address, timeout)
            watch = Watch(
                entry, probe, self._sink, self._requests, self._config, self._directory.alone
            )
            guard = Guard(entry, watch, self._sink, self._requests, self._config)
            self._tasks.append(asyncio.create_task(watch.run(), name=f"watch {entry.id}"))
            self._tasks.append(asyncio.create_task(guard.run(), name=f"guard {entry.id}"))

    async def close(self) -> None:
        """Stop watching and close all connections; safe to call twice."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self._session is not None:
            await self._session.close()
