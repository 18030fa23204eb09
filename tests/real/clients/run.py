"""Runs a client as its users do, as a command, and tells what it printed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.real.process import Process

LONGEST_SECONDS = 150.0
"""10 to 20 s alone on two cores, most of it spent importing."""


class Run:
    """Calls commands, each in a process group that is gone afterwards."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def __call__(self, command: Sequence[str], env: Mapping[str, str]) -> str:
        """All that it printed; AssertionError with the end of it unless it exits with 0 in time."""
        self._log.unlink(missing_ok=True)
        process = Process(command, self._log, env)
        end = time.monotonic() + LONGEST_SECONDS
        try:
            while process.status is None and time.monotonic() < end:
                time.sleep(0.1)
            assert process.status == 0, f"exit {process.status}\n{process.log_tail()}"
        finally:
            process.kill()
        return self._log.read_text(errors="replace")
