"""Compares the relay with other proxies, window by window in turn: see docs/performance.md."""

from __future__ import annotations

import argparse
import itertools
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from bench.processes import free_port
from bench.relay.measure import Window, measure
from bench.relay.processes import OTHER_CORE, PROXY_CORE, compiled, running, wait_until_ready
from bench.relay.scenarios import SCENARIOS, Scenario
from bench.relay.table import DIRECT, HEAD, Row, line, rows
from bench.relay.targets import TARGETS, Target, another, urls

ENGINES = 2


def main() -> None:
    """Parse the command line, run everything, print the table and write the JSON."""
    options = _options()
    targets = _chosen(options.peers)
    if options.python is not None:
        targets.insert(1, another(options.python))
    scenarios = [s for s in SCENARIOS if not options.only or s.name in options.only.split(",")]
    for target in targets:
        target.install()
    windows = _run(targets, scenarios, options.rounds)
    print(HEAD)
    found = [
        row
        for scenario in scenarios
        for row in rows(scenario, [w for w in windows if w.scenario == scenario.name])
    ]
    for row in found:
        print(line(row))
    _save(options.json, found, windows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/relay/run", description=__doc__)
    names = ", ".join(scenario.name for scenario in SCENARIOS)
    peers = ", ".join(target.name for target in TARGETS if not target.ours)
    parser.add_argument("--only", help=f"scenarios, with commas between: {names}")
    parser.add_argument("--rounds", type=int, default=3, help="windows of each (default: 3)")
    parser.add_argument("--peers", default="all", help=f"`all`, `none`, or of: {peers}")
    parser.add_argument(
        "--python", type=Path, help="an interpreter with another build, to stand beside this one"
    )
    parser.add_argument("--json", type=Path, default=Path("relay.json"), help="file to write")
    return parser.parse_args()


def _chosen(peers: str) -> list[Target]:
    wanted = peers.split(",")
    chosen = [t for t in TARGETS if t.ours or peers == "all" or t.name in wanted]
    for target in chosen:
        if not target.available:
            print(f"{target.name} is not installed: left out", file=sys.stderr)
    return [target for target in chosen if target.available]


def _run(targets: list[Target], scenarios: list[Scenario], rounds: int) -> list[Window]:
    """Every proxy in turn in every round: what else the machine does then hits all alike.

    A proxy is started anew for each of its rounds, so that all begin with the same memory.
    """
    windows: list[Window] = []
    with ExitStack() as stack:
        engines = [free_port() for _ in range(ENGINES)]
        stack.enter_context(running([compiled("engine"), *map(str, engines)], OTHER_CORE))
        wait_until_ready(urls(engines)[0])
        for number, target in itertools.product(range(rounds), [None, *targets]):
            for window in _round(target, engines, scenarios):
                print(
                    f"round {number + 1} {window.scenario:10} {window.target:14}"
                    f" {window.cpu_us:9.1f} us",
                    file=sys.stderr,
                )
                windows.append(window)
    return windows


def _round(target: Target | None, engines: list[int], scenarios: list[Scenario]) -> list[Window]:
    """One window of each scenario; of the engines themselves if there is no proxy."""
    if target is None:
        return [measure(DIRECT, scenario, engines[0], None) for scenario in scenarios]
    mine = [s for s in scenarios if not target.scenarios or s.name in target.scenarios]
    port = free_port()
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = target.command(port, engines, Path(folder))
        with running(command, PROXY_CORE) as pid:
            try:
                wait_until_ready(urls([port])[0])
            except TimeoutError as error:
                print(f"{target.name} is left out: {error}", file=sys.stderr)
                return []
            return [measure(target.name, scenario, port, pid) for scenario in mine]


def _save(path: Path, found: list[Row], windows: list[Window]) -> None:
    everything = {"rows": found, "windows": windows}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(everything)) + b"\n")


if __name__ == "__main__":
    main()
