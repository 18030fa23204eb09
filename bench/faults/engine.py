"""An emulated engine behind a wire that fails on command."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from bench.faults.wire import Fault, Link, Sound
from paceline.engines.emulator.app import RunningEmulator, start_emulator
from paceline.engines.emulator.config import EmulatorConfig

EMULATED = EmulatorConfig(speed=20.0, kv_tokens=200_000, output_tokens=16)
"""Twenty times as fast as the modelled H100, so that faults and not engines take the time."""
ID = re.compile(rb"x-request-id: ([^\r]*?)(?:-\d+)?\r\n", re.IGNORECASE)


class FaultyEngine:
    """Generations fail as `next_fault` says; small questions are answered unless it is frozen."""

    def __init__(self, config: EmulatorConfig, emulator: RunningEmulator) -> None:
        self._config = config
        self._emulator = emulator
        self._server: asyncio.Server | None = None
        self._links: dict[Link, asyncio.Task[None]] = {}
        self.next_fault: Callable[[], Fault] = Sound
        self.thawed = asyncio.Event()
        """Unset: connections are taken, and nothing more happens."""
        self.thawed.set()
        self.asked = 0
        """Generations asked for."""
        self.answered: Counter[bytes] = Counter()
        """Whole answers by the client's request id."""
        self.failed: set[bytes] = set()
        """The ids of the requests that met a fault."""
        self.port = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop_listening(self) -> None:
        """New connections are refused."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def kill(self) -> None:
        """As `kill -9` does: the port closes, every connection is reset."""
        self.stop_listening()
        tasks = list(self._links.values())
        for link in list(self._links):
            link.reset()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def restart(self) -> None:
        """Killed and started again, its cache empty."""
        await self.kill()
        old, self._emulator = self._emulator, await start_emulator(self._config)
        await old.close()
        await self.start()

    async def close(self) -> None:
        """The end."""
        self.thawed.set()
        await self.kill()
        await self._emulator.close()

    def fault_for(self, head: bytes) -> tuple[Fault, bytes]:
        """The next generation's, and its id."""
        self.asked += 1
        found = ID.search(head)
        fault, id = self.next_fault(), b"" if found is None else found[1]
        if not isinstance(fault, Sound):
            self.failed.add(id)
        return fault, id

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(self, reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._links[link] = task
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self.thawed.wait()
                port = int(self._emulator.url.rpartition(":")[2])
                await link.run(*await asyncio.open_connection("127.0.0.1", port))
        finally:
            del self._links[link]
            writer.close()


@asynccontextmanager
async def faulty_engine(config: EmulatorConfig = EMULATED) -> AsyncIterator[FaultyEngine]:
    """One on a port of its own."""
    engine = FaultyEngine(config, await start_emulator(config))
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()
