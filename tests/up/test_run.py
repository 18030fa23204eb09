"""`paceline up` as its users have it: a file, a process, HTTP, signals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from paceline.cli import cli
from paceline.proxy.process.listen import CannotListen
from paceline.proxy.process.load import ConfigError
from paceline.up.load import load
from paceline.up.run import up
from tests.up.rig import ENGINE, gone


def text(folder: Path, **server: Any) -> str:
    """A file with two engines, `small` with a child process, and an alias of `large`."""
    lines = [
        f"server = {json.dumps({'port': 0} | server)}".replace(":", " ="),
        f'up = {{ log_dir = "{folder}", restart_seconds = 0.01 }}',
        "upstream = { probe_seconds = 0.1 }",
        "[[rules]]",
        'models = ["gpt-4"]',
        'to = "large"',
    ]
    for kind, model in (("vllm", "small"), ("sglang", "large")):
        lines += ["[[engines]]", f'kind = "{kind}"', f'model = "org/{model}"', "gpus = []"]
        lines += [f"command = {json.dumps(ENGINE)}", f'args = {{ child = "{folder}/{model}" }}']
    return "\n".join(lines)


class Up:
    """The running command."""

    def __init__(self, process: Process, base: str) -> None:
        self.process = process
        self.base = base

    async def engines(self) -> dict[str, dict[str, Any]]:
        """What its state says of engines, by name."""
        async with aiohttp.request("GET", f"{self.base}/paceline/state") as reply:
            return {one["name"]: one for one in (await reply.json())["engines"]}

    async def ask(self, model: str) -> tuple[str, int]:
        """Which backend answers for a model, and its process id."""
        body = {"model": model, "prompt": "hi"}
        async with aiohttp.request("POST", f"{self.base}/v1/completions", json=body) as reply:
            return reply.headers["x-paceline-backend"], json.loads(await reply.read())["pid"]

    async def hears(self, what: str) -> str:
        """The next line of its log with these words."""
        assert self.process.stderr is not None
        while what not in (line := (await self.process.stderr.readline()).decode()):
            assert line, f"never said: {what}"
        return line


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Up]:
    """The command with that file; killed if the test left it running."""
    (folder / "up.toml").write_text(text(folder))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "paceline", "up", "-c", str(folder / "up.toml")),
        stdout=PIPE,
        stderr=PIPE,
        env=os.environ | {"NO_COLOR": "1"},
    )
    try:
        assert process.stdout is not None
        yield Up(process, (await process.stdout.readline()).decode().split()[-1])
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def all_gone(up: Up, folder: Path) -> None:
    """Wait until no engine is left, and none of their children."""
    children = [int((folder / name).read_text()) for name in ("small", "large")]
    for pid in children:
        await gone(pid)


async def test_a_day_in_its_life(tmp_path: Path) -> None:
    """Both models answer, by name and by rule; one is killed and comes back; a reload changes the
    rules and says what it does not change; SIGTERM ends all and leaves nothing."""
    async with running(tmp_path) as made:
        before = await made.engines()
        assert [one["state"] for one in before.values()] == ["ready", "ready"]
        assert await made.ask("small") == ("small", before["small"]["pid"])
        assert await made.ask("gpt-4") == ("large", before["large"]["pid"])

        os.kill(before["small"]["pid"], signal.SIGKILL)
        await made.hears("engine ended")
        again = asyncio.create_task(made.ask("small"))  # it waits, and is not refused
        assert await made.ask("large") == ("large", before["large"]["pid"])
        backend, pid = await again
        after = await made.engines()
        assert after["small"]["restarts"] == 1
        assert (backend, pid) == ("small", after["small"]["pid"])
        assert pid != before["small"]["pid"]

        changed = text(tmp_path).replace('to = "large"', 'to = "small"')
        (tmp_path / "up.toml").write_text(changed.replace("org/large", "more/large"))
        made.process.send_signal(signal.SIGHUP)
        assert "settings=['engines']" in await made.hears("a restart is needed")
        await made.hears("reloaded")
        assert await made.ask("gpt-4") == ("small", after["small"]["pid"])

        made.process.send_signal(signal.SIGTERM)
        assert await made.process.wait() == 0
        await all_gone(made, tmp_path)


async def test_no_orphans(tmp_path: Path) -> None:
    """Killed with SIGKILL, it still takes its engines and their children along."""
    async with running(tmp_path) as made:
        pids = [one["pid"] for one in (await made.engines()).values()]
        made.process.kill()
        for pid in pids:
            await gone(pid)
        await all_gone(made, tmp_path)


async def test_stopped_while_engines_start(tmp_path: Path) -> None:
    """Whoever changes their mind does not wait for engines to load."""
    (tmp_path / "up.toml").write_text(text(tmp_path).replace("args = {", "args = { deaf = true,"))
    loaded = load(tmp_path / "up.toml")
    running = asyncio.create_task(up(tmp_path / "up.toml", loaded))
    while not (tmp_path / "large").exists() or not (tmp_path / "large").read_text():
        await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
    await running
    await gone(int((tmp_path / "large").read_text()))


async def test_a_taken_port_is_known_before_engines_load(tmp_path: Path) -> None:
    """And so is a program that is missing."""
    other = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    (tmp_path / "up.toml").write_text(text(tmp_path, port=port))
    async with other:
        with pytest.raises(CannotListen, match=f"{port}"):
            await up(tmp_path / "up.toml", load(tmp_path / "up.toml"))
    assert not (tmp_path / "small.log").exists()


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("", r"\(m\): vllm is not installed: pip install 'paceline\[vllm\]', or name the inter"),
        ('python = "/none/python"', "there is no interpreter /none/python"),
        ('command = ["nothing-like-it"]', "there is no program nothing-like-it"),
    ],
)
async def test_a_missing_program(program: str, error: str, tmp_path: Path) -> None:
    """It says how to get it."""
    (tmp_path / "up.toml").write_text(f'[[engines]]\nkind = "vllm"\nmodel = "m"\n{program}')
    with pytest.raises(ConfigError, match=rf"up\.toml: \$\.engines\[0\] .*{error}"):
        await up(tmp_path / "up.toml", load(tmp_path / "up.toml"))


async def test_an_engine_that_cannot_start(tmp_path: Path) -> None:
    """The command fails; the last line says why, those before it are the engine's own."""
    (tmp_path / "fail").write_text("RuntimeError: no")
    engine = f'kind = "vllm"\nmodel = "m"\nargs = {{ fail = "{tmp_path}/fail" }}'
    toml = f'[up]\nlog_dir = "{tmp_path}"\n[[engines]]\ncommand = {json.dumps(ENGINE)}\n{engine}'
    (tmp_path / "up.toml").write_text(toml)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "paceline", "up", "-c", str(tmp_path / "up.toml")), stderr=PIPE
    )
    _, err = await process.communicate()
    *_, said, last = err.decode().splitlines()
    assert process.returncode == 1
    assert said.endswith("m | RuntimeError: no")
    assert last.startswith("paceline: engine m: it ended with status 1 while starting; see ")


def test_check_and_dry_run(tmp_path: Path) -> None:
    """Neither starts anything; one counts, the other prints the commands."""
    (tmp_path / "up.toml").write_text(text(tmp_path))
    file = str(tmp_path / "up.toml")
    checked = CliRunner().invoke(cli, ["check", "-c", file])
    assert checked.output == f"{file}: ok, 2 backend(s), policy auto\n"
    small, large = CliRunner().invoke(cli, ["up", "-c", file, "--dry-run"]).output.splitlines()
    assert "org/small --served-model-name small" in small
    assert "--model-path org/large --served-model-name large" in large
    assert not (tmp_path / "small").exists()
