"""A worker that is killed is started anew and leaves nothing behind; all end with their parent."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.proxy.rig import Caller
from tests.proxy.scripted import engine
from tests.proxy.whole import Whole, streaming

CONFIG = """
[server]
port = 0
workers = 2
drain_seconds = 5
[log]
format = "json"
[[backends]]
url = "http://127.0.0.1:{port}"
kind = "openai"
models = ["m"]
"""


class Served(Whole):
    """`paceline serve` in processes of its own."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.port = port

    def workers(self) -> list[int]:
        """The process ids of its children."""
        pid = self.process.pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    async def in_flight(self) -> int:
        """Requests that the scheduler has; whom a dying worker had not yet accepted asks again."""
        while True:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                answer = await self.ask("GET", "/paceline/state")
                scheduler = json.loads(answer.body)["scheduler"]
                return int(scheduler["in_flight"]) + int(scheduler["waiting"])

    async def closed(self) -> None:
        """Nobody listens any more."""
        while True:
            try:
                (await self.dial()).hang_up()
            except ConnectionRefusedError:
                return
            except ConnectionError:  # the listener closed with us in its backlog
                continue

    async def stream(self) -> Caller:
        """A chat whose answer has begun."""
        caller = await self.dial()
        await caller.post()
        await caller.reader.readuntil(b"data: 1\n\n")
        return caller


@asynccontextmanager
async def served(file: Path, engine_port: int) -> AsyncIterator[Served]:
    """The proxy with two workers; whatever is left of it is killed."""
    file.write_text(CONFIG.format(port=engine_port))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "paceline", "serve", "-c", str(file)),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        event: dict[str, str] = {}
        while event.get("event") != "listening":
            event = json.loads(await process.stderr.readline())
        yield Served(process, int(event["address"].rpartition(":")[2]))
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()  # also waits for the workers, who share its stderr


async def ends(caller: Caller) -> bool:
    """Whether a stream came to its proper end."""
    try:
        rest = await caller.reader.readuntil(b"0\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return False
    return b"[DONE]" in rest


async def test_a_killed_worker_takes_its_own_clients_with_it_and_nothing_else(
    tmp_path: Path,
) -> None:
    """kill -9: its streams break, the scheduler forgets them, the others' end well, another worker
    comes; SIGTERM then ends all."""
    gate = asyncio.Event()
    async with engine(streaming(gate)) as one, served(tmp_path / "c.toml", one.port) as proxy:
        streams = [await proxy.stream() for _ in range(24)]
        assert await proxy.in_flight() == 24
        before = proxy.workers()
        os.kill(before[0], signal.SIGKILL)
        endings = [asyncio.create_task(ends(caller)) for caller in streams]
        while (left := await proxy.in_flight()) == 24:
            pass
        gate.set()
        assert sum(await asyncio.gather(*endings)) == left
        while len(proxy.workers()) < 2 or await proxy.in_flight():
            await asyncio.sleep(0.05)
        assert len(set(proxy.workers()) - set(before)) == 1
        page = (await proxy.ask("GET", "/metrics")).body
        assert b"paceline_worker_restarts_total 1.0" in page
        for caller in streams:
            caller.hang_up()
        proxy.process.send_signal(signal.SIGTERM)
        assert await proxy.process.wait() == 0


async def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    """kill -9 of the parent: the port is free, a stream comes to its end, nobody is left."""
    gate = asyncio.Event()
    async with engine(streaming(gate)) as one, served(tmp_path / "c.toml", one.port) as proxy:
        caller = await proxy.stream()
        proxy.process.kill()
        await proxy.closed()
        gate.set()
        assert await ends(caller)
        caller.hang_up()
        await proxy.process.wait()  # for all who hold its stderr: the workers, too
