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
import pytest

from paceline.proxy.compose import Proxy
from paceline.proxy.config import BackendConfig, Config
from paceline.proxy.record import Record

CONFIG = Config(backends=[BackendConfig(url="http://127.0.0.1:9", name="a", models=["m"])])


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
        while event["event"] != "listening":
            assert event["event"] in ("backend up", "few open files allowed")
            event = json.loads(await process.stderr.readline())
        assert (await fetch(event["address"] + "/ready"))[0] == 200
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
        assert (process.returncode, out) == (0, b"")
        assert [json.loads(line)["event"] for line in err.splitlines()] == ["draining"]


async def test_a_record_is_logged_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """What a request leaves behind reaches the log and `/metrics`."""
    proxy = Proxy(CONFIG)
    record = Record(id="r1", path="/v1/completions", status=429, outcome="rejected")
    record.reason = "queue_full"
    proxy.gateway.on_record(record)
    await asyncio.sleep(0)  # lines are written once in a turn of the loop
    assert capsys.readouterr().err.count("r1") == 1
    page, content_type = proxy.gateway.metrics()
    assert b'paceline_decisions_total{reason="queue_full"} 1.0' in page
    assert content_type.startswith("text/plain")


async def test_state_names_the_policy() -> None:
    """`/paceline/state` is the scheduler of this proxy."""
    state = json.loads(Proxy(CONFIG).gateway.state())
    assert state["policy"] == "auto"
    assert state["scheduler"]["waiting"] == 0


async def test_not_ready_while_stopping() -> None:
    """Once told to stop, readiness is off whatever the backends do."""
    proxy = Proxy(CONFIG)
    proxy.stopping = True
    assert not proxy.gateway.ready()
