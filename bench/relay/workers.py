"""Compares `--workers`: CPU a request, requests a second, and what the hop to the parent costs.

`python -m bench.relay.workers`; the load and the engines have the last core for themselves where
there are enough, else they share it with the proxy: judge by ratios.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from statistics import median

from msgspec import Struct

from bench.processes import free_port
from bench.relay.measure import Window, measure
from bench.relay.processes import OTHER_CORE, compiled, cpu_seconds, running, tree, wait_until_ready
from bench.relay.scenarios import SCENARIOS, Scenario
from bench.relay.targets import urls

ONLY = ("json1", "json32", "json256", "burst32")
HEAD = (
    "| scenario | workers | req/s | CPU us | parent's | p50 ms | p99 ms |\n"
    "|---|---|---|---|---|---|---|"
)


class Sample(Struct, frozen=True):
    """One window, and which part of the CPU the first process used: the parent, if there is one."""

    count: int
    window: Window
    share: float


def main() -> None:
    """Parse the command line, run everything, print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.relay.workers", description=__doc__)
    parser.add_argument("--workers", default="1,2", help="numbers to compare (default: 1,2)")
    parser.add_argument("--rounds", type=int, default=3, help="windows of each (default: 3)")
    parser.add_argument("--only", default=",".join(ONLY), help="scenarios, with commas between")
    options = parser.parse_args()
    scenarios = [s for s in SCENARIOS if s.name in options.only.split(",")]
    counts = [int(word) for word in options.workers.split(",")]
    samples = _run(counts, scenarios, options.rounds)
    print(HEAD)
    for scenario in scenarios:
        for count in counts:
            mine = [s for s in samples if (s.window.scenario, s.count) == (scenario.name, count)]
            print(_row(scenario, count, mine))


def _run(counts: list[int], scenarios: list[Scenario], rounds: int) -> list[Sample]:
    """Every number of workers in turn in every round."""
    samples: list[Sample] = []
    with ExitStack() as stack:
        engines = [free_port() for _ in range(2)]
        stack.enter_context(running([compiled("engine"), *map(str, engines)], OTHER_CORE))
        wait_until_ready(urls(engines)[0])
        for _ in range(rounds):
            for count in counts:
                samples += _round(count, engines, scenarios)
    return samples


def _round(count: int, engines: list[int], scenarios: list[Scenario]) -> list[Sample]:
    port = free_port()
    with running(_command(count, port, engines), _cores()) as pid:
        wait_until_ready(urls([port])[0])
        return [_sample(count, scenario, port, pid) for scenario in scenarios]


def _sample(count: int, scenario: Scenario, port: int, pid: int) -> Sample:
    pids = tree(pid)
    first, all_of_them = cpu_seconds([pid]), cpu_seconds(pids)
    window = measure(str(count), scenario, port, pid)
    first, all_of_them = cpu_seconds([pid]) - first, cpu_seconds(pids) - all_of_them
    return Sample(count, window, first / max(all_of_them, 1e-9))


def _command(count: int, port: int, engines: list[int]) -> list[str]:
    serve = [sys.executable, "-m", "paceline", "serve", "--log-format", "json"]
    backends = [word for url in urls(engines) for word in ("--backend", url)]
    return [*serve, "--port", str(port), "--workers", str(count), *backends]


def _cores() -> str:
    """The proxy's: all but the load's, if that leaves two."""
    cores = sorted(os.sched_getaffinity(0))
    return ",".join(str(core) for core in cores if len(cores) < 3 or core != OTHER_CORE)


def _row(scenario: Scenario, count: int, samples: list[Sample]) -> str:
    """The medians."""
    loads = [sample.window.load for sample in samples]
    rate = median(load.requests / load.seconds for load in loads)
    cpu = median(sample.window.cpu_us for sample in samples)
    parents = median(sample.window.cpu_us * sample.share for sample in samples)
    p50 = median(load.latency.p50 for load in loads) / 1e6
    p99 = median(load.latency.p99 for load in loads) / 1e6
    mine = f"{parents:.0f}" if count > 1 else "-"
    return (
        f"| `{scenario.name}` | {count} | {rate:.0f} | {cpu:.0f} | {mine} | {p50:.2f} | {p99:.2f} |"
    )


if __name__ == "__main__":
    main()
