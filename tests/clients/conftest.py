"""`paceline serve` in front of its two emulated engines, started once for all clients."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def base() -> Iterator[str]:
    """The proxy's address."""
    command = [sys.executable, "-m", "paceline", "serve", "--port", "0"]
    environment = os.environ | {"NO_COLOR": "1"}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()
            process.communicate()
