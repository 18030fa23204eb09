"""The whole proxy starts, says where it is, and stops when told to."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp


@asynccontextmanager
async def running(*args: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`paceline serve --port 0` with `args`; killed if the test left it running."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "paceline", "serve", "--port", "0", *args),
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
        assert event["event"] == "listening"
        assert (await fetch(event["address"] + "/ready"))[0] == 200
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
        assert (process.returncode, out) == (0, b"")
        assert [json.loads(line)["event"] for line in err.splitlines()] == ["draining"]
