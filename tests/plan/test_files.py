"""engines.sh, run against stand-ins for the engines' commands."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from paceline.plan.files import write
from paceline.plan.plan import make_plan
from paceline.plan.spec import GpuSpec, ModelSpec, PlanSpec, checked
from tests.plan.models import DATA

ENGINE = """#!{python} -IS
import os, sys, socket
port = int(sys.argv[sys.argv.index("--port") + 1])
server = socket.create_server(("127.0.0.1", port))
print(os.path.basename(sys.argv[0]), flush=True)
while True:
    client, _ = server.accept()
    client.recv(4096)
    client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
    client.close()
"""
"""Answers on its port and says its name."""
BROKEN = "#!/bin/sh\nexit 3\n"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """The script of a plan with SGLang first and vLLM second, and stand-ins for both."""
    models = [
        ModelSpec(model="TinyLlama-1.1B", engine="sglang", port=free_port()),
        ModelSpec(model="Yi-6B", port=free_port()),
    ]
    spec = checked(PlanSpec(models=models, gpu=GpuSpec(memory_gib=32)))
    _, path = write(make_plan(spec, DATA), tmp_path / "deploy")
    for name in ("python", "vllm"):
        stand_in(tmp_path, name, ENGINE.format(python=sys.executable))
    return path


def stand_in(folder: Path, name: str, text: str) -> None:
    """An executable of that name."""
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.fixture
def running(script: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The script with the stand-ins before everything else on the path."""
    if shutil.which("curl") is None:
        pytest.skip("engines.sh needs curl")
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    with subprocess.Popen(
        [script], env=os.environ | {"PATH": path}, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def test_one_after_the_other(running: subprocess.Popen[str]) -> None:
    """Each starts when the one before answers; a signal ends them all."""
    assert running.stdout is not None
    assert [running.stdout.readline() for _ in range(2)] == ["python\n", "vllm\n"]
    running.send_signal(signal.SIGTERM)
    assert running.stdout.read() == ""  # the last that held the pipe has ended
    assert running.wait() == 143


def test_an_engine_that_dies(script: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The script ends with an error and takes the others with it."""
    stand_in(tmp_path, "vllm", BROKEN)
    process: subprocess.Popen[str] = request.getfixturevalue("running")
    assert process.stdout is not None
    assert process.stdout.read() == "python\n"
    assert process.wait() != 0


def test_names_that_need_quoting(tmp_path: Path) -> None:
    """What a shell or TOML would take apart stays one word."""
    shutil.copytree(DATA / "Yi-6B", tmp_path / "my model")
    spec = ModelSpec(model="my model", name='a "b" $c')
    made = make_plan(checked(PlanSpec(models=[spec], gpu=GpuSpec(memory_gib=32))), tmp_path)
    config, path = write(made, tmp_path)
    assert subprocess.run(["sh", "-n", path], check=False).returncode == 0
    assert "'a \"b\" $c'" in path.read_text()
    assert r'models = ["a \"b\" $c"]' in config.read_text()
