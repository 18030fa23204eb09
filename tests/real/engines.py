"""Starts, asks and stops real engines: one `Engine` is one server with its children."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.real import layout, tiny_llama

MODEL = "tiny"
POOL_TOKENS = 6144
CHUNK_TOKENS = 2048
MAX_RUNNING = 16
BLOCK_SIZE: dict[layout.Kind, int] = {"vllm": 32, "sglang": 1}
START_SECONDS = 400.0
"""50 to 90 s alone on two cores; on a busy machine several times that."""

_COUNTERS: dict[layout.Kind, dict[str, str]] = {
    "vllm": {
        "queried": "vllm:prefix_cache_queries_total",
        "hit": "vllm:prefix_cache_hits_total",
        "running": "vllm:num_requests_running",
        "waiting": "vllm:num_requests_waiting",
    },
    "sglang": {
        "queried": "sglang:prompt_tokens_total",
        "hit": "sglang:cached_tokens_total",
        "running": "sglang:num_running_reqs",
        "waiting": "sglang:num_queue_reqs",
    },
}


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def command(kind: layout.Kind, model: Path, port: int) -> list[str]:
    """The engine's command line: a pool of POOL_TOKENS and everything that decides an answer fixed."""
    return [str(layout.python(kind)), "-m", *(_vllm if kind == "vllm" else _sglang)(model, port)]


def _vllm(model: Path, port: int) -> list[str]:
    options = {
        "model": model,
        "served-model-name": MODEL,
        "dtype": "float32",  # bfloat16 rounds differently for another batch, and another word wins
        "host": "127.0.0.1",
        "port": port,
        "max-model-len": tiny_llama.CONTEXT,
        "block-size": BLOCK_SIZE["vllm"],
        "num-gpu-blocks-override": POOL_TOKENS // BLOCK_SIZE["vllm"],
        "max-num-batched-tokens": CHUNK_TOKENS,
        "max-num-seqs": MAX_RUNNING,
        "tool-call-parser": "hermes",
        # Or an argmax that falls on a space repeats it to the end.
        "structured-outputs-config": '{"backend": "xgrammar", "disable_any_whitespace": true}',
    }
    switches = ["enforce-eager", "enable-prompt-tokens-details", "enable-auto-tool-choice"]
    return ["vllm.entrypoints.openai.api_server", *_flags(options, switches)]


def _sglang(model: Path, port: int) -> list[str]:
    options = {
        "model-path": model,
        "served-model-name": MODEL,
        "dtype": "float32",
        "device": "cpu",
        "attention-backend": "torch_native",
        "host": "127.0.0.1",
        "port": port,
        "context-length": tiny_llama.CONTEXT,
        "page-size": BLOCK_SIZE["sglang"],
        "max-total-tokens": POOL_TOKENS,
        "chunked-prefill-size": CHUNK_TOKENS,
        "max-running-requests": MAX_RUNNING,
        "random-seed": 0,
        "tool-call-parser": "qwen25",
    }
    switches = [
        "disable-cuda-graph",
        "disable-overlap-schedule",
        "enable-metrics",
        "enable-cache-report",
        "skip-server-warmup",
        "sleep-on-idle",
        "constrained-json-disable-any-whitespace",
    ]
    return ["sglang.launch_server", *_flags(options, switches)]


def _flags(options: dict[str, object], switches: Sequence[str]) -> list[str]:
    pairs = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return pairs + [f"--{name}" for name in switches]


class Engine:
    """One engine on a port of its own; its whole process group dies with this process."""

    def __init__(self, kind: layout.Kind, model: Path, log: Path) -> None:
        self.kind = kind
        self.model = model
        self.log = log
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it in the background; `wait_ready` says when it can be used."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.real.leash", *command(self.kind, self.model, self.port)],
                stdin=subprocess.PIPE,  # never written: its closing is what tells the leash
                stdout=log,
                stderr=subprocess.STDOUT,
                env=layout.environment(self.kind),
                cwd=layout.HERE.parent.parent,
                start_new_session=True,
            )
        atexit.register(self.kill)

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Return when /health answers; RuntimeError with the end of the log if it never does."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"{self.kind} died while starting\n{self.log_tail()}")
            with contextlib.suppress(urllib.error.URLError, OSError):
                with urllib.request.urlopen(f"{self.url}/health", timeout=30):
                    return
            time.sleep(0.5)
        raise RuntimeError(f"{self.kind} not ready after {seconds:.0f} s\n{self.log_tail()}")

    def kill(self) -> None:
        """SIGKILL to the server and its children, as a crash does it; returns when they are gone."""
        process, self._process = self._process, None
        if process is None:
            return
        atexit.unregister(self.kill)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def log_tail(self, lines: int = 40) -> str:
        """The last lines that it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    async def counters(self) -> dict[str, float]:
        """Its own `queried` and `hit` prompt tokens since the start, `running` and `waiting` now."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/metrics") as response,
        ):
            text = await response.text()
        totals: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
        return {name: totals.get(metric, 0.0) for name, metric in _COUNTERS[self.kind].items()}
