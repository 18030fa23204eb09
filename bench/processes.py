"""Starts this project's own servers as child processes and waits until they answer."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from socket import socket
from tempfile import TemporaryFile
from typing import IO

START_SECONDS = 20.0


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def paceline(*arguments: str, port: int, ready: str) -> Iterator[str]:
    """Run `paceline ARGUMENTS --port PORT` until the block ends; yields its base URL."""
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "paceline", *arguments, "--port", str(port)]
    with TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_until_ready(process, url + ready, log)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=20)


def wait_until_ready(process: subprocess.Popen[bytes], url: str, log: IO[bytes]) -> None:
    """Until `url` answers 200; RuntimeError with its last words when the process ends first."""
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        if process.poll() is not None:
            log.seek(0)
            raise RuntimeError(log.read().decode()[-2000:])
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{url} did not answer within {START_SECONDS:.0f} s")
