"""The whole proxy in this process, before faulty engines; it must leave nothing behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from bench.faults.engine import EMULATED, FaultyEngine, faulty_engine
from paceline.engines.emulator.config import EmulatorConfig
from paceline.proxy.config import BackendConfig, Config, LogConfig, UpstreamConfig
from paceline.proxy.process.compose import Proxy
from paceline.proxy.process.listen import listening
from paceline.proxy.telemetry import log
from paceline.proxy.telemetry.record import Record
from paceline.scheduler.config import SchedulerConfig

QUIET_SECONDS = 3.0
"""Longest wait for the last events of requests whose clients have gone."""


class Recorded(Proxy):
    """A proxy that keeps the record of every request in place of its log line and metrics."""

    def __init__(self, config: Config) -> None:
        self.records: list[Record] = []
        super().__init__(config)

    def _on_record(self, record: Record) -> None:
        self.records.append(record)


class Rig:
    """A running proxy, its engines and the record of every request."""

    def __init__(self, proxy: Recorded, engines: Sequence[FaultyEngine]) -> None:
        self.proxy = proxy
        self.engines = engines
        self.records = proxy.records
        self.port = 0

    async def up(self, count: int) -> None:
        """Wait until so many backends are sent requests."""
        async with asyncio.timeout(10.0):
            while sum(backend.up for backend in self.proxy.snapshot().backends) != count:
                await asyncio.sleep(0.02)

    async def leftovers(self, requests: int, left: int = 0) -> list[str]:
        """What is not as if nothing had ever been asked, in words; empty is good.

        Of the `requests`, those whose clients `left` may never have been read from the socket.
        """
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                while self._busy() or len(self.records) < requests - left:
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pass
        found = self._busy()
        if not requests - left <= len(self.records) <= requests:
            found.append(f"{len(self.records)} of {requests} requests ended")
        if len({record.id for record in self.records}) != len(self.records):
            found.append("a request ended twice")
        for engine in self.proxy.gateway.directory:
            self.proxy.driver.backend_reset(engine.id)
        if nodes := self.proxy.snapshot().trie_nodes:
            found.append(f"{nodes} trie nodes")
        return found

    def _busy(self) -> list[str]:
        snapshot = self.proxy.snapshot()
        found = [] if not snapshot.waiting else [f"{snapshot.waiting} waiting"]
        if held := self.proxy.gateway.memory.held:
            found.append(f"{held} bytes of bodies")
        for backend in snapshot.backends:
            counts = {
                "in flight": backend.in_flight,
                "unstarted": backend.unstarted,
                "prefill tokens": backend.prefill_tokens,
                "KV tokens": (backend.kv_tokens or 0) - (backend.kv_room or 0),
                "connections": self.proxy.gateway.pool.in_flight(backend.id),
            }
            found += [f"{n} {what} at {backend.id}" for what, n in counts.items() if n]
        return found


def quiet() -> None:
    """Log failures alone."""
    log.configure(LogConfig(level="error"))
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # the emulators': clients left


@asynccontextmanager
async def rigged(
    engines: int = 2,
    upstream: UpstreamConfig | None = None,
    scheduler: SchedulerConfig | None = None,
    emulated: EmulatorConfig = EMULATED,
) -> AsyncIterator[Rig]:
    """A proxy before so many engines, all of them up."""
    quiet()
    async with AsyncExitStack() as stack:
        faulty = [await stack.enter_async_context(faulty_engine(emulated)) for _ in range(engines)]
        config = Config(
            upstream=upstream or UpstreamConfig(probe_seconds=0.5),
            scheduler=scheduler or SchedulerConfig(),
            log=LogConfig(level="error"),
            backends=[
                BackendConfig(url=engine.url, name=f"e{i}") for i, engine in enumerate(faulty)
            ],
        )
        proxy = Recorded(config)
        rig = Rig(proxy, faulty)
        proxy.monitor.start()
        stack.push_async_callback(proxy.close)
        base = await stack.enter_async_context(listening(proxy.server, "127.0.0.1", 0))
        stack.callback(proxy.gateway.pool.close)
        rig.port = int(base.rpartition(":")[2])
        await rig.up(engines)
        yield rig
