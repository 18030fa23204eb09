"""Runs the programs of the benchmark on their cores, and reads what a process tree has used."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

HERE = Path(__file__).parent
PROXY_CORE, OTHER_CORE = 0, 1
START_SECONDS = 60.0
TICKS = os.sysconf("SC_CLK_TCK")


@cache
def compiled(name: str) -> str:
    """The program made of NAME.c, in a folder of this run."""
    program = Path(mkdtemp(prefix="paceline-bench-")) / name
    subprocess.run(["cc", "-O2", "-o", program, HERE / f"{name}.c"], check=True)
    return str(program)


@contextmanager
def running(command: Sequence[str], core: int | str) -> Iterator[int]:
    """A process group pinned to its cores until the block ends; yields the first process's id."""
    pinned = ["taskset", "-c", str(core), *command]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(pinned, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until_ready(url: str) -> None:
    """Until a chat request is answered 200; TimeoutError after a minute."""
    body = b'{"model":"m","messages":[{"role":"user","content":"#json#"}]}'
    headers = {"Content-Type": "application/json", "Authorization": "Bearer key"}
    request = urllib.request.Request(f"{url}/v1/chat/completions", body, headers)
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(request, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"{url} did not answer a chat request")


def tree(root: int) -> list[int]:
    """The process and all its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += parents.get(pid, [])
    return found


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time that the processes have used until now."""
    return sum(_used(pid) for pid in pids)


def rss_kb(pids: Sequence[int]) -> int:
    """Resident memory, in kB."""
    pages = sum(int(fields[21]) for pid in pids if (fields := _stat(pid)))
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def _used(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS if fields else 0.0


def _stat(pid: int) -> list[str]:
    """The fields behind the command's name (so state, parent, ...); none if the process ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
