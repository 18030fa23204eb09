"""Starts this project's own servers as child processes and waits until they answer."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from socket import socket

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
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        wait_until_ready(process, url + ready)
        yield url
    finally:
        process.terminate()
        process.communicate(timeout=20)


def wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    """Until `url` answers 200; RuntimeError with its last words when the process ends first."""
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        if process.poll() is not None:
            assert process.stderr is not None
            raise RuntimeError(process.stderr.read().decode()[-2000:])
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{url} did not answer within {START_SECONDS:.0f} s")
