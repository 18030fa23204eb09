"""Keeps one engine running: starts it, waits until it is healthy, starts it again when it ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
from msgspec import Struct

from paceline.proxy.telemetry.state import EngineState, Life
from paceline.up.backoff import Backoff
from paceline.up.child import CannotStart, Child, tail
from paceline.up.command import Command, command
from paceline.up.config import EngineConfig, UpConfig
from paceline.up.remedy import remedy
from paceline.up.tell import Level, Starting, Teller

LOOK_SECONDS = 0.25
"""How often a starting engine is asked for its health."""
HEALTH_SECONDS = 10.0
"""Longest wait for that answer: engines that load do not always come to it."""
MEANING_LINES = 200
"""Of the log are searched for what went wrong: tracebacks of several processes are long."""
SHOWN_LINES = 20
"""Of them are shown."""


class EngineFailed(Exception):
    """An engine did not start, or ended; the message is one line for the operator."""


class _Run(Struct):
    """One run of the engine."""

    child: Child
    began_at: float
    log_from: int
    """Where its part of the log begins, in bytes."""


class Keeper:
    """One engine; `start` it once, then `keep` it until `stop`."""

    def __init__(
        self,
        engine: EngineConfig,
        config: UpConfig,
        turn: asyncio.Lock,
        session: aiohttp.ClientSession,
        teller: Teller,
    ) -> None:
        """`turn` is held while it starts, by one engine of those that share a GPU."""
        self.engine = engine
        self.state: Life = "waiting"
        self.since = 0.0
        """When it came into this state, on the loop's clock."""
        self.restarts = 0
        self.log = Path(config.log_dir, f"{engine.name}.log")
        self.teller = teller
        """Whoever hears of it; may be replaced."""
        self._command: Command = command(engine)
        self._config = config
        self._turn = turn
        self._session = session
        self._backoff = Backoff(config)
        self._run: _Run | None = None
        self._now = asyncio.get_running_loop().time

    def view(self) -> EngineState:
        """What is shown of it."""
        return EngineState(
            name=self.engine.name,
            state=self.state,
            pid=None if self._run is None else self._run.child.pid,
            restarts=self.restarts,
            log=str(self.log),
        )

    def starting(self) -> Starting:
        """How far it is."""
        last = next(iter(self._tail(1)), "")
        return Starting(self.engine.name, self.state, self._now() - self.since, last)

    async def start(self) -> None:
        """Start it when its turn comes; returns when it is healthy. Raises EngineFailed."""
        async with self._turn:
            self._become("starting")
            run = await self._spawn()
            self._tell("info", "engine starts", pid=run.child.pid, log=str(self.log))
            await self._healthy(run)
            seconds = round(self._now() - run.began_at, 1)
            self._become("ready")
            self._tell("info", "engine ready", seconds=seconds, port=self.engine.port)

    async def keep(self, lost: Callable[[str], None]) -> None:
        """Start it again whenever it ends, of which `lost` is told; returns when it is given up."""
        while self._run is not None:
            since, status = self.since, await self._run.child.wait()
            lost(self.engine.name)
            failure = self._ended(f"it ended with {_status(status)}", status)
            if not await self._again(failure, self._now() - since):
                return

    async def stop(self) -> None:
        """End it, if it runs."""
        if self._run is not None:
            self._tell("info", "engine stops", pid=self._run.child.pid)
            await self._run.child.stop(self._config.stop_seconds)
            self._run = None
        self._become("stopped")

    async def _again(self, failure: EngineFailed, served: float) -> bool:
        """Start it after a pause, and again until it is healthy; False: it is given up."""
        while (pause := self._backoff.ended(served)) is not None:
            self._become("restarting")
            self._tell("error", "engine ended", why=str(failure), again_in_seconds=pause)
            await asyncio.sleep(pause)
            self.restarts += 1
            try:
                await self.start()
                return True
            except EngineFailed as another:
                failure, served = another, 0.0
        self._become("failed")
        self._tell("error", "engine given up", why=str(failure), restarts=self.restarts)
        return False

    async def _spawn(self) -> _Run:
        port = self.engine.port
        assert port is not None
        if _taken(port):
            raise EngineFailed(f"port {port} is taken: set another `port`, or end who has it")
        began = self._now()
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            at = self.log.stat().st_size if self.log.exists() else 0
            child = await Child.start(self._command, self.log)
        except (CannotStart, OSError) as error:
            raise EngineFailed(f"it cannot be started: {error}") from None
        self._run = _Run(child, began, at)
        return self._run

    async def _healthy(self, run: _Run) -> None:
        """Wait for its first good answer; raises EngineFailed and leaves nothing running."""
        ended = asyncio.create_task(run.child.wait())
        healthy = asyncio.create_task(self._until_healthy())
        try:
            limit = self.engine.start_seconds
            await asyncio.wait((ended, healthy), timeout=limit, return_when="FIRST_COMPLETED")
            if ended.done():
                status = ended.result()
                raise self._ended(f"it ended with {_status(status)} while starting", status)
            if not healthy.done():
                await run.child.stop(self._config.stop_seconds)
                raise self._ended(f"it was not healthy after {limit:g} s (`start_seconds`)", None)
        finally:
            for task in (ended, healthy):
                task.cancel()
            await asyncio.gather(ended, healthy, return_exceptions=True)

    async def _until_healthy(self) -> None:
        timeout = aiohttp.ClientTimeout(total=HEALTH_SECONDS)
        url = f"http://127.0.0.1:{self.engine.port}/health"
        while True:
            with suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with self._session.get(url, timeout=timeout) as reply:
                    if reply.status == 200:
                        return
            await asyncio.sleep(LOOK_SECONDS)

    def _ended(self, what: str, status: int | None) -> EngineFailed:
        """Show the end of its log, and say what it means."""
        lines = self._tail(MEANING_LINES)
        for line in lines[-SHOWN_LINES:]:
            self.teller.line(self.engine.name, line)
        self._run = None
        advice = remedy(status, lines)
        return EngineFailed("; ".join(filter(None, (what, advice, f"see {self.log}"))))

    def _tail(self, lines: int) -> list[str]:
        return [] if self._run is None else tail(self.log, self._run.log_from, lines)

    def _tell(self, level: Level, what: str, **fields: Any) -> None:
        self.teller.event(level, what, self.engine.name, **fields)

    def _become(self, state: Life) -> None:
        self.state, self.since = state, self._now()


def _status(status: int) -> str:
    return f"signal {status - 128}" if status > 128 else f"status {status}"


def _taken(port: int) -> bool:
    """Whether anybody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
