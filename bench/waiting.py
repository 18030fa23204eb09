"""`python -m bench.waiting`: ten thousand prompts of 400 kB wait; what memory that takes.

No engine is up, so that everything waits; clients keep their connections open all the while.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import resource
import socket
import sys
import urllib.request
from collections import Counter
from tempfile import NamedTemporaryFile

import msgspec

from bench.processes import free_port, paceline

AT_ONCE = 50
"""Uploads at once."""
SETTLE_SECONDS = 1.0
"""After the last upload, until those that are refused have been."""
CONFIG = """
[server]
max_connections = {connections}
max_connections_per_address = 0

[[backends]]
url = "http://127.0.0.1:{port}"
"""
RESIDENT = re.compile(rb"^process_resident_memory_bytes (\S+)$", re.MULTILINE)
WAITING = re.compile(rb"^paceline_waiting_requests (\S+)$", re.MULTILINE)


def metric(url: str, name: re.Pattern[bytes]) -> float:
    """One figure of `/metrics`."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as page:
        found = name.search(page.read())
    assert found is not None
    return float(found[1])


class Clients:
    """Connections, each with one request under way."""

    def __init__(self, port: int, size: int) -> None:
        self._port = port
        self._size = size
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._open: list[socket.socket] = []

    async def upload(self, number: int) -> None:
        """Send one, different from the first byte on; a refusal may come at any time."""
        loop = asyncio.get_running_loop()
        async with self._gate:
            prompt = f"{number} " * (self._size // len(f"{number} "))
            body = msgspec.json.encode({"model": "m", "prompt": prompt, "max_tokens": 8})
            head = "POST /v1/completions HTTP/1.1\r\nHost: p\r\nContent-Length: "
            connection = socket.socket()
            connection.setblocking(False)
            self._open.append(connection)
            try:
                await loop.sock_connect(connection, ("127.0.0.1", self._port))
                await loop.sock_sendall(connection, f"{head}{len(body)}\r\n\r\n".encode() + body)
            except ConnectionError:
                return  # refused while it was sending

    def answers(self) -> Counter[str]:
        """What those got that need not wait."""
        found: Counter[str] = Counter()
        for connection in self._open:
            try:
                found[connection.recv(4096).split(b"\r\n", 1)[0].decode()[9:]] += 1
            except BlockingIOError:
                found["waits"] += 1
            except ConnectionError:
                found["refused while it was sending"] += 1
        return found

    def close(self) -> None:
        """All leave at once."""
        for connection in self._open:
            connection.close()


async def run(url: str, count: int, size: int) -> None:
    """Print what the proxy's memory does."""
    clients = Clients(int(url.rpartition(":")[2]), size)
    await asyncio.gather(*map(clients.upload, range(count)))
    await asyncio.sleep(SETTLE_SECONDS)
    waiting = await asyncio.to_thread(metric, url, WAITING)
    during = await asyncio.to_thread(metric, url, RESIDENT)
    print(f"{count} prompts of {size // 1000} kB: {dict(clients.answers())}, {waiting:.0f} queued")
    clients.close()
    while await asyncio.to_thread(metric, url, WAITING):
        await asyncio.sleep(0.2)
    after = await asyncio.to_thread(metric, url, RESIDENT)
    print(f"resident: {during / 1e6:.0f} MB, after all have left {after / 1e6:.0f} MB")


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=400_000, help="bytes of a prompt")
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(CONFIG.format(connections=options.count + 100, port=free_port()))
        file.flush()
        measure(file.name, options.count, options.size)
    return 0


def measure(config: str, count: int, size: int) -> None:
    """Print the figures of a proxy of its own."""
    with paceline("serve", "-c", config, port=free_port(), ready="/health") as url:
        print(f"idle: {metric(url, RESIDENT) / 1e6:.0f} MB")
        for _ in range(2):  # what was freed once is used again
            asyncio.run(run(url, count, size))


if __name__ == "__main__":
    sys.exit(main())
