"""The proxy as a process of its own: its configuration, its reloads, and what it uses."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from msgspec import Struct

from bench.processes import free_port, wait_until_ready
from bench.relay.processes import cpu_seconds, rss_kb

CONFIG = """
[server]
drain_seconds = 5.0

[upstream]
first_byte_seconds = 20.0
idle_seconds = 10.0

[scheduler]
max_waiting = {max_waiting}

[log]
format = "json"
level = "warning"
"""
BACKEND = """
[[backends]]
url = "{url}"
name = "e{number}"
"""
SAMPLE = re.compile(r"^paceline_(\w+?)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
STOP_SECONDS = 20.0


class Sample(Struct, frozen=True):
    """What the process has and does at one instant."""

    at: float
    """Seconds after the traffic's beginning."""
    rss_mb: float
    cpu_seconds: float
    files: int
    """Open file descriptors."""
    sockets: int
    """Of those, the sockets: listeners and connections."""
    waiting: int
    in_flight: int
    kv_tokens: int
    """KV room spoken for at the engines, and their queued prefill, in tokens."""
    trie_nodes: int
    trie_blocks: int


class Complaint(Struct, frozen=True):
    """One line of its log."""

    level: str
    event: str


class ProxyProcess:
    """A running proxy."""

    def __init__(self, pid: int, port: int, folder: Path) -> None:
        self.pid = pid
        self.port = port
        self._folder = folder

    def sample(self, at: float) -> Sample:
        """Look at it from outside, and ask it."""
        found = self._metrics()
        files = open_files(self.pid)
        taken = found.get("backend_kv_tokens", 0.0) - found.get("backend_kv_room_tokens", 0.0)
        return Sample(
            at=at,
            rss_mb=rss_kb([self.pid]) / 1024,
            cpu_seconds=cpu_seconds([self.pid]),
            files=len(files),
            sockets=len(sockets(files)),
            waiting=int(found["waiting_requests"]),
            in_flight=int(found.get("backend_in_flight_requests", 0.0)),
            kv_tokens=int(taken + found.get("backend_prefill_tokens", 0.0)),
            trie_nodes=int(found["trie_nodes"]),
            trie_blocks=int(found["trie_blocks"]),
        )

    def ended(self) -> int:
        """Requests that have ended, however."""
        return int(self._metrics().get("requests_total", 0.0))

    def reload(self, backends: Sequence[str], max_waiting: int = 10_000) -> None:
        """Another configuration, taken over by SIGHUP."""
        configure(self._folder, backends, max_waiting)
        os.kill(self.pid, signal.SIGHUP)

    def complaints(self) -> Counter[str]:
        """What it has logged at `warning` and above, by level and event."""
        lines = (self._folder / "log").read_bytes().splitlines()
        found = (msgspec.json.decode(line, type=Complaint) for line in lines)
        return Counter(f"{one.level}: {one.event}" for one in found)

    def _metrics(self) -> dict[str, float]:
        """Each of the proxy's metrics, summed over its labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60) as page:
            text = page.read().decode()
        found: dict[str, float] = {}
        for name, value in SAMPLE.findall(text):
            found[name] = found.get(name, 0.0) + float(value)
        return found


def configure(folder: Path, backends: Sequence[str], max_waiting: int = 10_000) -> Path:
    """Write its file."""
    parts = [BACKEND.format(url=url, number=number) for number, url in enumerate(backends)]
    path, whole = folder / "paceline.toml", folder / "paceline.toml.new"
    whole.write_text("".join([CONFIG.format(max_waiting=max_waiting), *parts]))
    return whole.replace(path)


@asynccontextmanager
async def proxy(backends: Sequence[str]) -> AsyncIterator[ProxyProcess]:
    """One before these engines, stopped as an operator stops it when the block ends."""
    port = free_port()
    with TemporaryDirectory() as name, (folder := Path(name)).joinpath("log").open("w+b") as log:
        path = configure(folder, backends)
        serve = [sys.executable, "-m", "paceline", "serve", "-c", str(path), "--port", str(port)]
        process = subprocess.Popen(serve, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}/ready"
            await asyncio.to_thread(wait_until_ready, process, url, log)
            yield ProxyProcess(process.pid, port, folder)
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, STOP_SECONDS)


def sockets(files: Sequence[str]) -> list[str]:
    """Of those, the sockets."""
    return [name for name in files if name.startswith("socket:")]


def open_files(pid: int) -> list[str]:
    """What its file descriptors refer to."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(entry))
        except OSError:  # closed meanwhile
            continue
    return found
