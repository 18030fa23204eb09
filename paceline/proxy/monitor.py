"""Runs one watch a backend on the event loop, from `start` to `close`."""

from __future__ import annotations

import asyncio

import aiohttp

from paceline.proxy.config import UpstreamConfig
from paceline.proxy.directory import Directory, Entry
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
        self._watches: dict[str, Watch] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Begin to watch; must be called on the running loop, once."""
        self._session = open_session()
        for entry in self._directory:
            self.watch(entry)

    def watch(self, entry: Entry) -> None:
        """Begin to watch one backend, or begin anew, as at another address."""
        assert self._session is not None
        self.forget(entry.id)
        probe = Probe(self._session, entry.address, self._config.probe_timeout_seconds)
        watch = Watch(entry, probe, self._sink, self._requests, self._config)
        self._watches[entry.id] = watch
        self._tasks[entry.id] = asyncio.create_task(watch.run(), name=f"watch {entry.id}")

    def refresh(self, id: str) -> None:
        """What the configuration says of this backend changed."""
        self._watches[id].refresh()

    def forget(self, id: str) -> None:
        """Stop watching this one, if it is watched."""
        self._watches.pop(id, None)
        if (task := self._tasks.pop(id, None)) is not None:
            task.cancel()

    async def close(self) -> None:
        """Stop watching and close all connections; safe to call twice."""
        tasks = list(self._tasks.values())
        for id in list(self._tasks):
            self.forget(id)
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
