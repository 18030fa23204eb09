"""Whether the programs are there that are to be started, before any of them is."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import Sequence

from paceline.proxy.process.load import ConfigError
from paceline.up.command import interpreter
from paceline.up.config import EngineConfig

LOOK = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"


async def check(engines: Sequence[EngineConfig], source: str) -> None:
    """Raises ConfigError for the first engine whose program is missing."""
    for i, problem in enumerate(await asyncio.gather(*map(_problem, engines))):
        if problem:
            raise ConfigError(f"{source}: $.engines[{i}] ({engines[i].name}): {problem}")


async def _problem(engine: EngineConfig) -> str:
    """Looks where the engine will: `env` may have another PATH or PYTHONPATH."""
    env = os.environ | engine.env
    if engine.command:
        missing = shutil.which(engine.command[0], path=env.get("PATH")) is None
        return f"there is no program {engine.command[0]}" if missing else ""
    python, kind = interpreter(engine), engine.kind
    if shutil.which(python, path=env.get("PATH")) is None:
        return f"there is no interpreter {python}"
    if await _has(python, kind, env):
        return ""
    if python == sys.executable:
        return (
            f"{kind} is not installed: pip install 'paceline[{kind}]', or name the interpreter "
            'that has it: python = ".../bin/python"'
        )
    return f"{python} has no {kind}: {python} -m pip install {kind}"


async def _has(python: str, module: str, env: dict[str, str]) -> bool:
    asked = await asyncio.create_subprocess_exec(
        *(python, "-c", LOOK, module), stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, env=env
    )
    return await asked.wait() == 0
