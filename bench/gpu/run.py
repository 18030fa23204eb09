"""Real engines on a GPU: each workload directly and through the proxy, in the same run.

    python -m bench.gpu.run --engine vllm --url http://127.0.0.1:9000 --model m \
        --workloads many,long,fit,p45,p20 --targets direct,lpm --out bench/results/h100

The engine must be started with a KV pool of 65,536 tokens and an 8B shape (`llama-3.1-8b`), so that
the figures compare with each other; its prefix cache is emptied before each run (vLLM needs
`VLLM_SERVER_DEV_MODE=1` for that). Prompts are token ids; every run of a workload sends the same.
"""

from __future__ import annotations

import asyncio
import random
import urllib.request
from collections.abc import Callable
from pathlib import Path

import click
import msgspec

from bench.figures import Run, save, summarise, table
from bench.load import Prompt, Result, families, send
from bench.processes import free_port, paceline

FLUSH = {"vllm": "/reset_prefix_cache", "sglang": "/flush_cache"}
WARM_UP = 8


def poisson(
    rate: float, count: int, groups: int, shared: int, unique: int, output: int
) -> list[Prompt]:
    """`count` prompts of random families at `rate` a second."""
    rng = random.Random(11)
    prefixes = [[rng.randrange(32_000) for _ in range(shared)] for _ in range(groups)]
    at = 0.0
    prompts = []
    for _ in range(count):
        at += rng.expovariate(rate)
        tail = [rng.randrange(32_000) for _ in range(unique)]
        prompts.append(Prompt(at, rng.choice(prefixes) + tail, output))
    return prompts


WORKLOADS: dict[str, Callable[[], list[Prompt]]] = {
    "many": lambda: families(64, 6, 2000, 200, 16),
    "long": lambda: families(24, 6, 6000, 100, 64),
    "fit": lambda: families(8, 48, 2000, 200, 16),
    "p45": lambda: poisson(45.0, 600, 64, 2000, 200, 32),
    "p20": lambda: poisson(20.0, 600, 64, 2000, 200, 32),
}
"""`many` and `long` overflow the pool, `fit` does not; p45 and p20 arrive one by one."""


def flush(engine: str, url: str) -> None:
    """Empty the engine's prefix cache."""
    with urllib.request.urlopen(
        urllib.request.Request(url + FLUSH[engine], method="POST"), timeout=30
    ):
        pass


def measure(url: str, model: str, target: str, prompts: list[Prompt], config: str) -> list[Result]:
    """One run, through a fresh proxy unless direct."""
    if target == "direct":
        return asyncio.run(send(url, model, prompts))
    serve = ["serve", "--backend", url, "--policy", target]
    if config:
        serve += ["-c", config]
    with paceline(*serve, port=free_port(), ready="/ready") as proxy:
        return asyncio.run(send(proxy, model, prompts))


@click.command()
@click.option("--engine", type=click.Choice(["vllm", "sglang"]), required=True)
@click.option("--url", required=True, help="The engine's base URL.")
@click.option("--model", default="m", help="The engine's model name.")
@click.option("--workloads", default=",".join(WORKLOADS), help="Comma separated.")
@click.option("--targets", default="direct,lpm", help="direct, or policies; comma separated.")
@click.option("--config", default="", help="A configuration file for the proxy.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the CSVs.")
@click.option("--label", default="", help="Suffix of file names and targets.")
def main(
    engine: str,
    url: str,
    model: str,
    workloads: str,
    targets: str,
    config: str,
    out: Path,
    label: str,
) -> None:
    """Measure every workload against every target; write a CSV a run and print the table."""
    out.mkdir(parents=True, exist_ok=True)
    asyncio.run(send(url, model, families(1, WARM_UP, 3000, 100, 8, seed=3)))
    runs: list[Run] = []
    for workload in workloads.split(","):
        prompts = WORKLOADS[workload]()
        direct = 0.0
        for target in targets.split(","):
            flush(engine, url)
            results = measure(url, model, target, prompts, config)
            name = target if target == "direct" else target + label
            run = summarise(engine, workload, name, results)
            direct = run.makespan_s if target == "direct" else direct
            run.against_direct = direct / run.makespan_s
            runs.append(run)
            save(out / f"{engine}_{workload}_{name}.csv", results)
            table([run])
    table(runs)
    path = out / f"{engine}{label}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(runs)))


if __name__ == "__main__":
    main()
