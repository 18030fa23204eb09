"""The figures of one benchmark run, and the table of several."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.load import Result


class Run(msgspec.Struct, kw_only=True):
    """One line of the table."""

    engine: str
    workload: str
    target: str
    makespan_s: float
    hit_rate: float
    ttft_mean_s: float
    ttft_p50_s: float
    ttft_p90_s: float
    ttft_p99_s: float
    against_direct: float = 1.0
    """Makespan of the direct run over this one's: above 1 is faster."""
    jain: float = 1.0
    """Jain's index over the tokens served to each tenant while all had some left."""


def summarise(engine: str, workload: str, target: str, results: Sequence[Result]) -> Run:
    """The figures of one run."""
    ttft = [result.first - result.arrived for result in results]
    cuts = statistics.quantiles(ttft, n=100, method="inclusive")
    prompt_tokens = sum(result.prompt_tokens for result in results)
    return Run(
        engine=engine,
        workload=workload,
        target=target,
        makespan_s=max(result.last for result in results),
        hit_rate=sum(result.cached_tokens for result in results) / prompt_tokens,
        ttft_mean_s=statistics.fmean(ttft),
        ttft_p50_s=cuts[49],
        ttft_p90_s=cuts[89],
        ttft_p99_s=cuts[98],
    )


def table(runs: Sequence[Run]) -> None:
    """Print the runs; `x direct` compares with the direct run of the same engine and workload."""
    print(
        f"{'engine':7} {'workload':12} {'target':12} {'makespan':>9} {'x direct':>8} {'hit':>5}"
        f" {'ttft mean':>9} {'p50':>8} {'p90':>8} {'p99':>8}"
    )
    for run in runs:
        print(
            f"{run.engine:7} {run.workload:12} {run.target:12} {run.makespan_s:8.2f}s"
            f" {run.against_direct:7.2f}x {run.hit_rate:5.2f} {run.ttft_mean_s:8.3f}s"
            f" {run.ttft_p50_s:7.3f}s {run.ttft_p90_s:7.3f}s {run.ttft_p99_s:7.3f}s"
        )


def save(path: Path, results: Sequence[Result]) -> None:
    """One CSV row a request, in sending order; times in seconds after the start of the run."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["i", "arrived", "first", "last", "prompt", "cached"])
        for number, result in enumerate(results):
            times = (f"{t:.6f}" for t in (result.arrived, result.first, result.last))
            writer.writerow([number, *times, result.prompt_tokens, result.cached_tokens])
