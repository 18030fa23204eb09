"""One engine's process: started under its leash, waited for, and ended."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from pathlib import Path

from paceline.up.command import Command

LEASH = Path(__file__).with_name("leash.py")


class CannotStart(Exception):
    """There is no such program; the message says which."""


class Child:
    """A running engine; made by `start`."""

    def __init__(self, leash: Process, pid: int) -> None:
        self.pid = pid
        """The engine's own."""
        self._leash = leash

    @classmethod
    async def start(cls, command: Command, log: Path) -> Child:
        """Run it, its output appended to `log`; raises CannotStart.

        It is out of the terminal's reach: whoever presses Ctrl-C there means the proxy, which
        finishes streams before it ends its engines.
        """
        leash = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(LEASH), str(log), *command.words),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env=command.env,
            start_new_session=True,
        )
        assert leash.stdout is not None
        told = (await leash.stdout.readline()).decode().strip()
        if not told.isdecimal():
            await leash.wait()
            raise CannotStart(told or "it could not be started")
        return cls(leash, int(told))

    async def wait(self) -> int:
        """Its exit status, once it and all that it started are gone; from 129 on, a signal's."""
        status = await self._leash.wait()
        if status >= 0:
            return status
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # nobody else is left to do it
        return 128 - status

    async def stop(self, seconds: float) -> None:
        """SIGTERM, and SIGKILL to it and its children if it has not ended in time."""
        with suppress(ProcessLookupError):
            self._leash.terminate()
        try:
            await asyncio.wait_for(self._leash.wait(), seconds)
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """SIGKILL to it and its children; returns when they are gone."""
        assert self._leash.stdin is not None
        self._leash.stdin.close()
        await self._leash.wait()


def tail(log: Path, since: int, lines: int) -> list[str]:
    """The last lines of a log behind its first `since` bytes that have anything in them."""
    with suppress(OSError), log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(since, size - 2**16))
        text = file.read().decode(errors="replace").replace("\r", "\n")
        return [line.rstrip() for line in text.split("\n") if line.strip()][-lines:]
    return []
