"""The process starts, says where it is, hands over, and stops when told to."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp

from tests.proxy.rig import free_port


@asynccontextmanager
async def running(*args: str, port: int = 0) -> AsyncIterator[asyncio.subprocess.Process]:
    """`paceline serve` with `args`; killed if the test left it running."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "paceline", "serve", "--port", str(port), *args),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"NO_COLOR": "1"},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def fetch(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def test_starts_alone_shows_itself_and_drains() -> None:
    """Without backends it starts emulated ones; its addresses work; SIGTERM ends it with 0."""
    async with running() as process:
        assert process.stdout is not None
        base = (await process.stdout.readline()).decode().split()[-1]
        assert (await fetch(f"{base}/ready"))[0] == 200
        state = json.loads((await fetch(f"{base}/paceline/state"))[1])
        ids = [backend["id"] for backend in state["scheduler"]["backends"]]
        assert ids == ["emulated-vllm", "emulated-sglang"]
        page = (await fetch(f"{base}/metrics"))[1]
        assert 'paceline_backend_up{backend="emulated-sglang"} 1.0' in page
        process.send_signal(signal.SIGTERM)
        out, err = await process.communicate()
        assert process.returncode == 0
        assert b"curl -N " + base.encode() in out
        assert b"draining" in err


async def test_json_format_has_no_banner() -> None:
    """With JSON logs nothing but JSON is written."""
    async with running("--log-format", "json") as process:
        assert process.stderr is not None
        event = json.loads(await process.stderr.readline())
        while event["event"] != "listening":
            assert event["event"] in ("backend up", "few open files allowed")
            event = json.loads(await process.stderr.readline())
        assert (await fetch(event["address"] + "/ready"))[0] == 200
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
        assert (process.returncode, out) == (0, b"")
        assert [json.loads(line)["event"] for line in err.splitlines()] == ["draining"]


async def base_of(process: asyncio.subprocess.Process) -> str:
    """The address that it says it listens on."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().split()[-1]


async def keep_asking(url: str, statuses: list[int], stop: asyncio.Event) -> None:
    """Ask again and again, over a kept connection; whatever fails ends the test."""
    async with aiohttp.ClientSession() as session:
        while not stop.is_set():
            async with session.post(url, data=b'{"prompt":"a","model":"m"}') as response:
                statuses.append(response.status)
            await asyncio.sleep(0.005)


async def test_another_process_takes_over_and_no_request_is_lost(tmp_path: Path) -> None:
    """The new one serves before the old one ends; the old one ends by itself."""
    port, stop = free_port(), asyncio.Event()
    statuses: list[int] = []
    (tmp_path / "quiet.toml").write_text('[log]\nlevel = "warning"\n')
    quiet = ("-c", str(tmp_path / "quiet.toml"))  # nobody reads the log
    async with running(*quiet, port=port) as old:
        url = f"{await base_of(old)}/v1/completions"
        asking = [asyncio.create_task(keep_asking(url, statuses, stop)) for _ in range(2)]
        async with running(*quiet, "--replace", str(old.pid), port=port) as new:
            await base_of(new)
            assert await old.wait() == 0
            seen = len(statuses)
            while len(statuses) < seen + 10:
                await asyncio.sleep(0.001)
            stop.set()
            await asyncio.gather(*asking)
            new.send_signal(signal.SIGTERM)
            assert await new.wait() == 0
    assert set(statuses) == {404}  # no such model: the proxies' own answer


async def test_a_proxy_without_backends_replaces_nobody() -> None:
    """The one that serves goes on."""
    async with running("--replace", str(os.getpid()), "--backend", "http://127.0.0.1:9") as process:
        _, err = await process.communicate()
    assert process.returncode == 1
    assert b"paceline: no backend is up: the other proxy goes on" in err


async def test_a_load_balancer_has_time_to_notice(tmp_path: Path) -> None:
    """While new connections are still served, `/ready` says no; admins can watch to the end."""
    admin = free_port()
    (tmp_path / "paceline.toml").write_text(
        f"[server]\ngrace_seconds = 1.5\n[admin]\nport = {admin}\n"
    )
    async with running("-c", str(tmp_path / "paceline.toml")) as process:
        base = await base_of(process)
        assert (await fetch(f"{base}/ready"))[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        while b"draining" not in await process.stderr.readline():
            pass
        assert (await fetch(f"{base}/ready"))[0] == 503
        assert (await fetch(f"http://127.0.0.1:{admin}/ready"))[0] == 503
        assert (await fetch(f"{base}/metrics"))[0] == 404
        assert await process.wait() == 0


async def test_a_second_signal_ends_at_once() -> None:
    """Whoever does not want to wait for streams says so again."""
    async with AsyncExitStack() as stack:
        process = await stack.enter_async_context(running())
        base = await base_of(process)
        body = {"model": "emulated", "prompt": "a", "max_tokens": 100_000, "stream": True}
        session = await stack.enter_async_context(aiohttp.ClientSession())
        response = await session.post(f"{base}/v1/completions", json=body)
        await response.content.readany()
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        while b"draining" not in await process.stderr.readline():
            pass
        await response.content.readany()  # it goes on
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == -signal.SIGTERM
