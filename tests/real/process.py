"""A server as a child process: its log, its end, and no orphans however these tests end."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent.parent
GONE_SECONDS = 30.0
"""A killed engine's memory takes seconds to unmap."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """One command with its children, in a process group of its own."""

    def __init__(self, command: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        self.log = log
        with log.open("ab") as out:
            self._leash = subprocess.Popen(
                [sys.executable, "-m", "tests.real.leash", *command],
                stdin=subprocess.PIPE,  # never written: its closing is what tells the leash
                stdout=out,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=CHECKOUT,
                start_new_session=True,
            )
        atexit.register(self.kill)

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs."""
        return self._leash.poll()

    def terminate(self, seconds: float) -> int:
        """SIGTERM, as an operator sends it; the exit status. Raises TimeoutExpired."""
        self._signal(signal.SIGTERM)
        return self._leash.wait(seconds)

    def kill(self) -> None:
        """SIGKILL to the whole group, as a crash does it; returns when all are gone."""
        atexit.unregister(self.kill)
        self._signal(signal.SIGKILL)
        self._leash.communicate()
        end = time.monotonic() + GONE_SECONDS
        while self._signal(0) and time.monotonic() < end:
            time.sleep(0.05)

    def pause(self) -> None:
        """SIGSTOP to the whole group: it reacts to nothing, and its connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: it goes on as if nothing had been."""
        self._signal(signal.SIGCONT)

    def log_tail(self, lines: int = 40) -> str:
        """The last lines that it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _signal(self, number: int) -> bool:
        """Whether anybody was there to get it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._leash.pid, number)
            return True
        return False
