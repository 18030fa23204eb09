"""One window: the load on a proxy, and what the proxy used meanwhile."""

from __future__ import annotations

import subprocess

import msgspec
from msgspec import Struct

from bench.relay.processes import OTHER_CORE, compiled, cpu_seconds, rss_kb, tree
from bench.relay.scenarios import Scenario


class Series(Struct, frozen=True):
    """Times in nanoseconds."""

    count: int
    p50: float = 0.0
    p99: float = 0.0
    max: float = 0.0


class Load(Struct, frozen=True, kw_only=True):
    """What load.c prints."""

    seconds: float
    requests: int
    errors: int
    latency: Series
    first: Series
    delay: Series


class Window(Struct, frozen=True, kw_only=True):
    """One scenario against one proxy, once."""

    target: str
    scenario: str
    load: Load
    cpu_us: float
    """CPU of the proxy's process tree for each request, or each chunk where those are paced."""
    rss_mb: float
    rss_kb_stream: float
    """Growth of its memory from before the load, for each connection."""


def load(scenario: Scenario, port: int) -> subprocess.Popen[str]:
    """The load generator, started."""
    sizes = (scenario.connections, scenario.body, scenario.marker)
    times = (scenario.warm, scenario.window, scenario.ramp)
    words = [str(word) for word in (port, *sizes, *times, int(scenario.traced))]
    command = ["taskset", "-c", str(OTHER_CORE), compiled("load"), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def measure(name: str, scenario: Scenario, port: int, pid: int | None) -> Window:
    """Run the load against `port`; `pid` is the proxy's, None when engines are asked directly."""
    pids = tree(pid) if pid is not None else []
    idle = rss_kb(pids)
    with load(scenario, port) as process:
        assert process.stdout is not None
        process.stdout.readline()
        before = cpu_seconds(pids)
        line = process.stdout.readline()
        used = cpu_seconds(pids) - before
        full = rss_kb(pids)
    figures = msgspec.json.decode(line.removeprefix("end "), type=Load)
    units = figures.delay.count if scenario.unit == "chunk" else figures.requests
    return Window(
        target=name,
        scenario=scenario.name,
        load=figures,
        cpu_us=used / max(units, 1) * 1e6,
        rss_mb=full / 1024,
        rss_kb_stream=(full - idle) / scenario.connections,
    )
