"""Several replicas of one engine behind each proxy in turn: what order and placement are worth.

    python -m bench.replicas [--kind vllm|sglang] [--replicas 2] [--check]
    python -m bench.replicas --kind vllm --url http://127.0.0.1:9000 --url http://127.0.0.1:9010 \
        --model m --out bench/results/replicas

Without `--url` the replicas are emulated (Llama-3.1-8B on an H100, KV pool of 65,536 tokens each).
Requests go to the replicas in turn (`direct`), or through sglang-router and vllm-router (both
cache_aware, installed from PyPI) and `paceline serve`, all with their defaults. The workloads are
those of `bench.gpu.run` with families and rates multiplied by the replicas, as text, since not
every router takes token ids. Caches are emptied before each run.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

import click
import msgspec

from bench.figures import Run, save, summarise, table
from bench.gpu.run import flush, poisson
from bench.load import Prompt, Result, families, send
from bench.processes import free_port, paceline
from bench.relay.targets import TARGETS

KV_TOKENS = 65_536
DIRECT = "direct"
WORDS = ("add", "all", "and", "but", "day", "end", "for", "get", "key", "new", "one", "the")
"""Each with its space is one token, also in small vocabularies and in the emulated engines."""
START_SECONDS = 60.0
GAIN, PARITY = 1.3, 0.97
"""Throughput over the best other proxy: promised under cache pressure, and where all fits."""


def workloads(replicas: int) -> dict[str, list[Prompt]]:
    """As much pressure on each replica as in `bench.gpu.run` on one."""
    return {
        "many": families(64 * replicas, 6, 2000, 200, 16),
        "long": families(24 * replicas, 6, 6000, 100, 64),
        "fit": families(8 * replicas, 48, 2000, 200, 16),
        "poisson": poisson(45.0 * replicas, 600 * replicas, 64 * replicas, 2000, 200, 32),
    }


def as_text(prompts: Sequence[Prompt]) -> list[Prompt]:
    """A word a token."""
    return [
        replace(p, prompt=" ".join(WORDS[token % len(WORDS)] for token in p.prompt))
        for p in prompts
        if isinstance(p.prompt, list)
    ]


@contextmanager
def proxy(name: str, ports: Sequence[int], model: str) -> Iterator[str]:
    """Run this proxy in front of the engines at `ports`; yields its address once it serves."""
    target = next(target for target in TARGETS if target.name == name)
    target.install()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with TemporaryDirectory() as folder, TemporaryFile() as log:
        command = target.command(port, ports, Path(folder))
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_until_it_serves(process, url, model)
            yield url
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            process.kill()


def wait_until_it_serves(process: subprocess.Popen[bytes], url: str, model: str) -> None:
    """Until it has answered a request; RuntimeError when it ends or takes too long."""
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        with suppress(OSError, RuntimeError):
            asyncio.run(send(url, model, [Prompt(0.0, "ready?", 1)]))
            return
        time.sleep(0.2)
    raise RuntimeError(f"{url} did not serve a request")


@contextmanager
def emulated(kind: str, replicas: int) -> Iterator[list[str]]:
    """Emulated engines; yields their addresses."""
    options = ("emulate", "--kind", kind, "--kv-tokens", str(KV_TOKENS))
    with ExitStack() as stack:
        yield [
            stack.enter_context(paceline(*options, port=free_port(), ready="/v1/models"))
            for _ in range(replicas)
        ]


def measure(
    kind: str, urls: list[str], model: str, target: str, prompts: list[Prompt]
) -> list[Result]:
    """One run with empty caches, through a fresh proxy unless direct."""
    if target == DIRECT:
        for url in urls:
            flush(kind, url)
        return asyncio.run(send(urls, model, prompts))
    with proxy(target, [int(url.rpartition(":")[2]) for url in urls], model) as through:
        for url in urls:
            flush(kind, url)
        return asyncio.run(send(through, model, prompts))


def failures(runs: Sequence[Run]) -> list[str]:
    """Promises that these runs break."""
    broken = []
    for run in (r for r in runs if r.target == "paceline"):
        others = [
            r for r in runs if r.workload == run.workload and r.target not in (DIRECT, run.target)
        ]
        if not others:
            continue
        best = min(other.makespan_s for other in others)
        promised = PARITY if run.workload == "fit" else GAIN
        tail = min(other.ttft_p99_s for other in others)
        if run.workload != "poisson" and best / run.makespan_s < promised:
            gain = best / run.makespan_s
            broken.append(f"{run.workload}: {gain:.2f}x the best router, promised {promised}x")
        if run.workload != "fit" and run.ttft_p99_s > tail:
            broken.append(
                f"{run.workload}: p99 TTFT {run.ttft_p99_s:.2f} s, best router {tail:.2f} s"
            )
    return broken


@click.command()
@click.option("--kind", type=click.Choice(["vllm", "sglang"]), default="vllm", help="The engine.")
@click.option("--replicas", default=2, help="Emulated engines to start when no URL is given.")
@click.option("--url", "urls", multiple=True, help="A real engine; repeat for each replica.")
@click.option("--model", default="emulated", help="The engines' model name.")
@click.option("--workloads", "names", default="many,long,fit,poisson", help="Comma separated.")
@click.option("--targets", default=f"{DIRECT},sglang-router,vllm-router,paceline")
@click.option("--check", is_flag=True, help="Fail when a promise is broken.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the CSVs and the JSON.")
def main(
    kind: str,
    replicas: int,
    urls: tuple[str, ...],
    model: str,
    names: str,
    targets: str,
    check: bool,
    out: Path | None,
) -> None:
    """Measure every workload through every proxy; print a table."""
    runs: list[Run] = []
    with ExitStack() as stack:
        engines = list(urls) or stack.enter_context(emulated(kind, replicas))
        offered = workloads(len(engines))
        for workload in names.split(","):
            prompts = as_text(offered[workload])
            for target in targets.split(","):
                results = measure(kind, engines, model, target, prompts)
                runs.append(summarise(kind, workload, target, results))
                direct = next((r for r in runs if r.workload == workload), runs[-1])
                runs[-1].against_direct = direct.makespan_s / runs[-1].makespan_s
                table(runs[-1:])
                if out is not None:
                    out.mkdir(parents=True, exist_ok=True)
                    save(out / f"{kind}_{workload}_{target}.csv", results)
    table(runs)
    if out is not None:
        (out / f"{kind}.json").write_bytes(msgspec.json.format(msgspec.json.encode(runs)))
    if check and (broken := failures(runs)):
        raise click.ClickException("; ".join(broken))


if __name__ == "__main__":
    main()
