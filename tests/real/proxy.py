"""Runs `paceline serve` as its users do: a TOML file, a process, HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.real.client import ask, until
from tests.real.engines import MODEL, Engine
from tests.real.process import Process, free_port

MAIN = "from paceline.cli import main; main()"
"""What the `paceline` script does, but always with this checkout."""
READY_SECONDS = 60.0
STOP_SECONDS = 30.0


class Proxy:
    """A running proxy; made by `serving`."""

    def __init__(self, url: str, process: Process) -> None:
        self.url = url
        self.process = process

    async def state(self) -> dict[str, Any]:
        """What its scheduler holds; {} while it does not listen yet."""
        if self.process.status is not None:
            raise RuntimeError(f"the proxy died\n{self.process.log_tail()}")
        try:
            reply = await ask(self.url, "/paceline/state")
        except aiohttp.ClientConnectionError:
            return {}
        scheduler: dict[str, Any] = json.loads(reply.body)["scheduler"]
        return scheduler


def all_up(state: dict[str, Any]) -> bool:
    """Whether every backend answers and has said what it serves."""
    backends = state.get("backends", ())
    return bool(backends) and all(b["up"] and b["models"] for b in backends)


def idle(state: dict[str, Any]) -> bool:
    """Whether nothing waits and nothing runs."""
    in_flight = state["in_flight"] + sum(b["in_flight"] for b in state["backends"])
    return not state["waiting"] and not in_flight


@asynccontextmanager
async def serving(
    engines: Sequence[Engine],
    folder: Path,
    policy: str = "lpm",
    max_running: int | None = None,
    follow: bool = False,
    **settings: Any,
) -> AsyncIterator[Proxy]:
    """A proxy in front of `engines`, each named after its kind; stopped at the block's end.

    `max_running` is a backend's setting (vLLM does not tell it), `settings` are the policy's own;
    `follow`: it has the model's tokenizer and follows KV events.
    Raises AssertionError when it does not stop cleanly.
    """
    port = free_port()
    file = folder / f"{port}.toml"
    file.write_text(_toml(port, engines, policy, settings, max_running, follow))
    command = [sys.executable, "-c", MAIN, "serve", "-c", str(file)]
    process = Process(command, folder / f"{port}.log", os.environ)
    proxy = Proxy(f"http://127.0.0.1:{port}", process)
    try:
        await until("all backends up", proxy.state, all_up, READY_SECONDS)
        yield proxy
        status = await asyncio.to_thread(process.terminate, STOP_SECONDS)
        assert status == 0, process.log_tail()
    except BaseException:
        print(process.log_tail())
        raise
    finally:
        process.kill()


def _toml(
    port: int,
    engines: Sequence[Engine],
    policy: str,
    settings: dict[str, Any],
    max_running: int | None,
    follow: bool,
) -> str:
    values = ", ".join(f"{name} = {json.dumps(value)}" for name, value in settings.items())
    lines = [
        f"server = {{ port = {port}, drain_seconds = 5.0 }}",
        f'policy = {{ name = "{policy}", settings = {{ {values} }} }}',
        "upstream = { probe_seconds = 0.5 }",
    ]
    for engine in engines:
        lines += ["[[backends]]", f'name = "{engine.kind}"', f'url = "{engine.url}"']
        lines += [] if max_running is None else [f"max_running = {max_running}"]
        if follow:
            lines += [f'kv_events = "{engine.kv_events}"', f'kv_replay = "{engine.kv_replay}"']
    if follow:
        lines += ["[[models]]", f'name = "{MODEL}"', f'tokenizer = "{engines[0].model}"']
    return "\n".join(lines)
