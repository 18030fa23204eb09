"""Runs one watch and one guard a backend on the event loop, from `start` to `close`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import aiohttp

from paceline.proxy.config import UpstreamConfig
from paceline.proxy.upstream.directory import Directory, Entry
from paceline.proxy.upstream.guard import Guard
from paceline.proxy.upstream.probe import Probe, open_session
from paceline.proxy.upstream.watch import Requests, Sink, Watch

Follow = Callable[[Entry], Coroutine[None, None, None]]


class Monitor:
    """Keeps the directory and the scheduler informed about all backends."""

    def __init__(
        self,
        directory: Directory,
        sink: Sink,
        requests: Requests,
        config: UpstreamConfig,
        follow: Follow | None = None,
    ) -> None:
        """`follow` makes what follows a backend's KV events, where it has an address for them."""
        self._directory = directory
        self._sink = sink
        self._requests = requests
        self._config = config
        self._follow = follow
        self._followed: dict[str, tuple[str, str]] = {}
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
        sink, requests, config = self._sink, self._requests, self._config
        watch = Watch(entry, probe, sink, requests, config, self._directory.alone)
        guard = Guard(entry, watch, sink, requests, config)
        self._watches[entry.id] = watch
        for name, work in ((entry.id, watch.run()), (f"guard {entry.id}", guard.run())):
            self._tasks[name] = asyncio.create_task(work, name=f"watch {name}")
        self._listen(entry)

    def refresh(self, id: str) -> None:
        """What the configuration says of this backend changed."""
        self._watches[id].refresh()
        self._listen(self._directory[id])

    def _listen(self, entry: Entry) -> None:
        """Follow its KV events, unless they are followed where they come from now."""
        at = (entry.config.kv_events, entry.config.kv_replay)
        if self._follow is None or at == self._followed.get(entry.id, ("", "")):
            return
        name = f"follow {entry.id}"
        if (task := self._tasks.pop(name, None)) is not None:
            task.cancel()
        self._followed[entry.id] = at
        if at[0]:
            self._tasks[name] = asyncio.create_task(self._follow(entry), name=name)

    def forget(self, id: str) -> None:
        """Stop watching this one, if it is watched."""
        self._watches.pop(id, None)
        self._followed.pop(id, None)
        for name in (id, f"guard {id}", f"follow {id}"):
            if (task := self._tasks.pop(name, None)) is not None:
                task.cancel()

    async def close(self) -> None:
        """Stop watching and close all connections; safe to call twice."""
        tasks = list(self._tasks.values())
        for id in list(self._watches):
            self.forget(id)
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
