"""The life of `paceline up`: engines first, then the proxy, and both ended in the other order."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import structlog

from paceline.proxy.config import Config
from paceline.proxy.process.life import Plan, serve
from paceline.proxy.process.listen import ensure_free, run_loop, stop_signal
from paceline.proxy.process.secure import secure
from paceline.proxy.telemetry import log
from paceline.up import installed
from paceline.up.fleet import Fleet
from paceline.up.load import Loaded, load
from paceline.up.tell import Log, Teller, Terminal


def run(path: Path, loaded: Loaded) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises EngineFailed, ConfigError and CannotListen, and what the proxy's own run raises.
    """
    try:
        run_loop(up(path, loaded))
    finally:
        log.stderr().drain(log.LAST_SECONDS)  # what explains an error stands before it


async def up(path: Path, loaded: Loaded) -> None:
    """Everything from the first engine's start to the last one's end."""
    config = loaded.config
    log.configure(config.log)
    await installed.check(loaded.engines, str(path))
    secure(config)  # what is wrong with it should not be heard only after minutes of loading
    if config.server.port:
        await ensure_free(config.server.host, config.server.port)
    fleet = Fleet(loaded.engines, loaded.up, _teller(config))
    try:
        if await _started(fleet):
            plan = Plan(
                config=config,
                reread=lambda: reread(path, loaded),
                file=str(path),
                attend=fleet.attend,
            )
            await serve(plan)
    finally:
        await fleet.stop()


def reread(path: Path, before: Loaded) -> Config:
    """The configuration for the proxy as the file is now; raises ConfigError.

    The engines stay those that were started: a change of theirs is said to take a restart.
    """
    now = load(path)
    pairs = {"engines": (before.told, now.told), "up": (before.up, now.up)}
    if changed := [name for name, (old, new) in pairs.items() if old != new]:
        structlog.get_logger().warning("a restart is needed", settings=changed)
    return now.keeping(before)


def _teller(config: Config) -> Teller:
    live = config.log.format == "console" and sys.stderr.isatty()
    return Terminal() if live else Log()


async def _started(fleet: Fleet) -> bool:
    """Whether all engines run; False where a signal came before. Raises EngineFailed."""
    with stop_signal() as stopped:
        starting = asyncio.create_task(fleet.start())
        await asyncio.wait((starting, stopped), return_when="FIRST_COMPLETED")
        if stopped.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return False
        await starting
        return True
