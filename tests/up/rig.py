"""Engines that start in a tenth of a second, and what hears of them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from paceline.up.config import EngineConfig, UpConfig
from paceline.up.fleet import Fleet
from paceline.up.tell import Level, Look
from tests.proxy.rig import free_port

ENGINE = [sys.executable, "-S", str(Path(__file__).with_name("engine.py"))]


def engine(name: str = "e", **fields: Any) -> EngineConfig:
    """One that stands in for vLLM."""
    plain: dict[str, Any] = {"port": free_port(), "gpus": [], "command": ENGINE}
    return EngineConfig(kind="vllm", model="m", served_name="m", name=name, **plain | fields)


def impatient(folder: Path, **settings: Any) -> UpConfig:
    """Settings for tests: hardly a pause, three ends in a row."""
    quick = {"restart_seconds": 0.01, "max_crashes": 3, "stop_seconds": 5.0, "steady_seconds": 60.0}
    return UpConfig(log_dir=str(folder), **quick | settings)


class Ears:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        """What, and to which engine."""
        self.details: list[dict[str, Any]] = []
        self.lines: list[str] = []

    def event(self, level: Level, what: str, engine: str, **fields: Any) -> None:
        self.heard.append((what, engine))
        self.details.append(fields)

    def line(self, engine: str, text: str) -> None:
        self.lines.append(f"{engine} | {text}")

    async def follow(self, look: Look) -> None:
        """Nothing of interest."""


@asynccontextmanager
async def fleet(
    *engines: EngineConfig, folder: Path, ears: Ears | None = None, **settings: Any
) -> AsyncIterator[Fleet]:
    """A fleet that is not started yet; none of it is left when the block ends."""
    made = Fleet(engines, impatient(folder, **settings), ears or Ears())
    try:
        yield made
    finally:
        await made.stop()


async def gone(pid: int) -> None:
    """Wait until there is no such process; a zombie is none."""
    while running(pid):
        await asyncio.sleep(0.01)


def running(pid: int) -> bool:
    """Whether a process runs."""
    try:
        os.kill(pid, 0)
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


async def until(fleet: Fleet, state: str, restarts: int) -> int | None:
    """Wait for the first engine to come into a state; its process id."""
    while (one := fleet.states()[0]).state != state or one.restarts != restarts:
        await asyncio.sleep(0.01)
    return one.pid
