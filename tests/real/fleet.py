"""A store, emulated engines and proxies before them, each a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest

from tests.real.client import ask, until
from tests.real.process import Process, free_port
from tests.real.proxy import MAIN

READY_SECONDS = 60.0
PASSWORD = "a-password"
ENV = {"FLEET_SECRET": "the same for all", "FLEET_PASSWORD": PASSWORD}
KV_TOKENS = 60_000
"""Of an engine: 28 of the families below. All fit, if none is computed twice without need."""
FAMILIES = 40


def server() -> str:
    """The store's program. It is never skipped: without it the test fails and says why."""
    for name in (os.environ.get("PACELINE_REDIS", "valkey-server"), "redis-server"):
        if (path := shutil.which(name)) is not None:
            return path
    return pytest.fail("no valkey-server or redis-server; run tests/real/install_redis")


class Store:
    """One server, that can be killed and started again; it forgets all."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: Process | None = None

    def start(self) -> None:
        """Start it; nobody waits until it is ready."""
        options = {"--port": str(self.port), "--bind": "127.0.0.1", "--save": "", "--dir": "."}
        options |= {"--requirepass": PASSWORD, "--dir": str(self._folder)}
        command = [server(), *(word for option in options.items() for word in option)]
        self._process = Process(command, self._folder / "store.log", os.environ)

    def kill(self) -> None:
        """As a crash does it."""
        if self._process is not None:
            self._process.kill()


class Fleet:
    """The proxies by their addresses, and their store."""

    def __init__(self, urls: list[str], store: Store) -> None:
        self.urls = urls
        self.store = store

    async def states(self) -> list[Any]:
        """What each proxy says of itself; {} while it does not listen yet."""
        states = []
        for url in self.urls:
            try:
                states.append(json.loads((await ask(url, "/paceline/state")).body))
            except aiohttp.ClientConnectionError:
                states.append({})
        return states

    async def joined(self, peers: int) -> None:
        """Wait until each proxy hears so many others, and has its engines."""

        def good(states: list[Any]) -> bool:
            return all(
                state
                and len(state["fleet"]["peers"]) == peers
                and all(one["up"] for one in state["scheduler"]["backends"])
                for state in states
            )

        await until(f"{peers} peers everywhere", self.states, good, READY_SECONDS)

    async def idle(self) -> None:
        """Wait until no proxy knows of a request in flight, of its own or a peer's."""

        def good(states: list[Any]) -> bool:
            return not any(
                one["in_flight"] for state in states for one in state["scheduler"]["backends"]
            )

        await until("nothing in flight", self.states, good, 20.0)


@asynccontextmanager
async def fleet(
    folder: Path, proxies: int, kind: str = "vllm", kv_tokens: int = KV_TOKENS
) -> AsyncIterator[Fleet]:
    """So many proxies that have heard each other, before the same two engines."""
    async with AsyncExitStack() as stack:
        store = Store(folder)
        store.start()
        stack.callback(store.kill)
        ports = [free_port(), free_port()]
        for port in ports:
            options = ["--kind", kind, "--port", str(port), "--kv-tokens", str(kv_tokens)]
            _run(folder, stack, "emulate", *options)
        urls = [_serve(folder, stack, store, ports) for _ in range(proxies)]
        made = Fleet(urls, store)
        await made.joined(proxies - 1)
        yield made


def _serve(folder: Path, stack: AsyncExitStack, store: Store, engines: list[int]) -> str:
    port = free_port()
    lines = [
        f"server = {{ port = {port}, drain_seconds = 1.0 }}",
        f'fleet = {{ url = "redis://127.0.0.1:{store.port}/0", secret_env = "FLEET_SECRET", '
        'password_env = "FLEET_PASSWORD" }',
    ]
    for number, engine in enumerate(engines):
        lines += ["[[backends]]", f'url = "http://127.0.0.1:{engine}"', f'name = "e{number}"']
    (folder / f"{port}.toml").write_text("\n".join(lines))
    _run(folder, stack, "serve", "-c", str(folder / f"{port}.toml"))
    return f"http://127.0.0.1:{port}"


def _run(folder: Path, stack: AsyncExitStack, *args: str) -> None:
    command = [sys.executable, "-c", MAIN, *args]
    process = Process(command, folder / f"{args[0]}-{free_port()}.log", os.environ | ENV)
    stack.callback(process.kill)


class Played:
    """What came of a workload."""

    def __init__(self, answers: list[tuple[int, dict[str, Any]]]) -> None:
        self.statuses = {status for status, _ in answers}
        prompt = sum(usage["prompt_tokens"] for _, usage in answers)
        details = [usage.get("prompt_tokens_details") or {} for _, usage in answers]
        self.hit_rate = sum(detail.get("cached_tokens", 0) for detail in details) / prompt


async def play(fleet: Fleet, requests: int, rate: float, seed: int = 7) -> Played:
    """Families of 2,000 tokens as a stream, dealt out to the proxies in turn."""
    rng = Random(seed)
    async with aiohttp.ClientSession() as session:
        asked = []
        for number in range(requests):
            body = _body(rng.randrange(FAMILIES), number)
            url = fleet.urls[number % len(fleet.urls)]
            asked.append(asyncio.create_task(_ask(session, url, body)))
            await asyncio.sleep(rng.expovariate(rate))
        return Played(await asyncio.gather(*asked))


async def _ask(session: aiohttp.ClientSession, url: str, body: Any) -> tuple[int, dict[str, Any]]:
    """The status, and the usage that the stream ends with."""
    async with session.post(f"{url}/v1/completions", json=body) as reply:
        lines = [line for line in (await reply.text()).split("\n") if '"usage":{' in line]
        usage = json.loads(lines[-1].removeprefix("data: "))["usage"] if lines else {}
        return reply.status, {"prompt_tokens": 0} | usage


def _body(family: int, number: int) -> Any:
    """Token ids, so that lengths are exact."""
    shared, own = Random(family), Random(1000 + number)
    prompt = [shared.randrange(30_000) for _ in range(2000)]
    prompt += [own.randrange(30_000) for _ in range(100)]
    more = {"stream": True, "stream_options": {"include_usage": True}}
    return {"model": "emulated", "prompt": prompt, "max_tokens": 16, **more}
