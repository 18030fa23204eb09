"""Starts, asks and stops real engines: one `Engine` is one server with its children."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from paceline.up.command import flags
from tests.real import layout, tiny_llama
from tests.real.process import Process, free_port

MODEL = "tiny"
POOL_TOKENS = 6144
CHUNK_TOKENS = 2048
MAX_RUNNING = 2
BLOCK_SIZE: dict[layout.Kind, int] = {"vllm": 32, "sglang": 1}
START_SECONDS = 400.0
"""50 to 90 s alone on two cores; on a busy machine several times that."""


@dataclass(frozen=True)
class Counters:
    """An engine's own figures."""

    prompt_tokens: int
    """Prompt tokens looked up in the prefix cache since the start."""
    hit_tokens: int
    """Those of them that were found there."""
    output_tokens: int
    """Tokens generated since the start; SGLang counts a request's when it ends."""
    running: int
    waiting: int


_METRICS: dict[layout.Kind, tuple[str, str, str, str, str]] = {
    "vllm": (
        "vllm:prefix_cache_queries_total",
        "vllm:prefix_cache_hits_total",
        "vllm:generation_tokens_total",
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
    ),
    "sglang": (
        "sglang:prompt_tokens_total",
        "sglang:cached_tokens_total",
        "sglang:generation_tokens_total",
        "sglang:num_running_reqs",
        "sglang:num_queue_reqs",
    ),
}
"""In the order of the fields of Counters."""


def command(kind: layout.Kind, model: Path, port: int, kv: dict[str, str]) -> list[str]:
    """The engine's command line: a small pool, and all that decides an answer fixed.

    `kv`: where it publishes KV events and replays them.
    """
    where = {"served-model-name": MODEL, "host": "127.0.0.1", "port": port}
    config: dict[str, object] = {"publisher": "zmq", **kv}
    if kind == "vllm":
        config["enable_kv_cache_events"] = True
    events = {"kv-events-config": json.dumps(config)}
    loaded = {"model" if kind == "vllm" else "model-path": model}
    words = flags({**loaded, **where, **options(kind), **events})
    return [str(layout.python(kind)), "-m", PROGRAMS[kind], *words]


PROGRAMS: dict[layout.Kind, str] = {
    "vllm": "vllm.entrypoints.openai.api_server",
    "sglang": "sglang.launch_server",
}


def options(kind: layout.Kind) -> dict[str, object]:
    """All flags but those that say what is loaded and where it is served; True for switches."""
    return _VLLM if kind == "vllm" else _SGLANG


_VLLM: dict[str, object] = {
    "dtype": "float32",  # bfloat16 rounds differently for another batch, and another word wins
    "max-model-len": tiny_llama.CONTEXT,
    "block-size": BLOCK_SIZE["vllm"],
    "num-gpu-blocks-override": POOL_TOKENS // BLOCK_SIZE["vllm"],
    "max-num-batched-tokens": CHUNK_TOKENS,
    "max-num-seqs": MAX_RUNNING,
    "tool-call-parser": "hermes",
    "uvicorn-log-level": "warning",
    # In the engine's process. As two, they wait for each other spinning, and on two cores the
    # HTTP server gets no time until they are idle. `uni`, its short name, is refused on CPUs.
    "distributed-executor-backend": "vllm.v1.executor.uniproc_executor.UniProcExecutor",
    # Or an argmax that falls on a space repeats it to the end.
    "structured-outputs-config": '{"backend": "xgrammar", "disable_any_whitespace": true}',
    "enforce-eager": True,
    "enable-prompt-tokens-details": True,
    "enable-auto-tool-choice": True,
}
_SGLANG: dict[str, object] = {
    "dtype": "float32",
    "device": "cpu",
    "attention-backend": "torch_native",
    "context-length": tiny_llama.CONTEXT,
    "page-size": BLOCK_SIZE["sglang"],
    "max-total-tokens": POOL_TOKENS,
    "chunked-prefill-size": CHUNK_TOKENS,
    "max-running-requests": MAX_RUNNING,
    "random-seed": 0,
    "tool-call-parser": "qwen25",
    "log-level-http": "warning",
    "disable-cuda-graph": True,
    "disable-overlap-schedule": True,
    "enable-metrics": True,
    "enable-cache-report": True,
    "skip-server-warmup": True,
    "sleep-on-idle": True,
    "constrained-json-disable-any-whitespace": True,
}


class Engine:
    """One engine on a port of its own, which it keeps when it is started again."""

    def __init__(self, kind: layout.Kind, model: Path, log: Path) -> None:
        self.kind: layout.Kind = kind
        self.log = log
        self.model = model
        """The folder with its tokenizer."""
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.kv_events, self.kv_replay = (
            f"ipc://{log.with_suffix(suffix)}" for suffix in (".events", ".replay")
        )
        kv = {"endpoint": self.kv_events, "replay_endpoint": self.kv_replay}
        self._command = command(kind, model, port, kv)
        self._process: Process | None = None

    def start(self) -> None:
        """Start it in the background; `wait_ready` says when it can be used."""
        self._process = Process(self._command, self.log, layout.environment(self.kind))

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Return when it has answered a request; RuntimeError with its log if it never does.

        `seconds` are for /health. The request is the first, which is slow, so that no test has it.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._process is None or self._process.status is not None:
                raise RuntimeError(f"{self.kind} died while starting\n{self.log_tail()}")
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"{self.url}/health", timeout=30),
            ):
                return self._warm_up()
            time.sleep(0.5)
        raise RuntimeError(f"{self.kind} not ready after {seconds:.0f} s\n{self.log_tail()}")

    def _warm_up(self) -> None:
        prompt = tiny_llama.words("warm-up", CHUNK_TOKENS)
        body = {"model": MODEL, "prompt": prompt, "max_tokens": 4, "ignore_eos": True}
        request = urllib.request.Request(
            f"{self.url}/v1/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            response.read()

    def kill(self) -> None:
        """SIGKILL to the server and its children; nothing happens if it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Inside the block it hangs: stopped, with its connections open."""
        assert self._process is not None
        self._process.pause()
        try:
            yield
        finally:
            self._process.resume()

    def log_tail(self) -> str:
        """The last lines that it printed."""
        return "" if self._process is None else self._process.log_tail()

    async def counters(self) -> Counters:
        """What it counts itself, at this moment."""
        async with aiohttp.request("GET", f"{self.url}/metrics") as response:
            text = await response.text()
        names = _METRICS[self.kind]
        totals = dict.fromkeys(names, 0)  # SGLang's counters appear with their first count
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name in totals:
                    totals[sample.name] += int(sample.value)
        return Counters(*(totals[name] for name in names))
