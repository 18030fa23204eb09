"""Several windows of each proxy as one row of figures, and the rows as a table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from msgspec import Struct

from bench.relay.measure import Window
from bench.relay.scenarios import Scenario

DIRECT = "direct"
"""The name under which the engines themselves stand in the table."""


class Row(Struct, kw_only=True):
    """Medians over the rounds, of latencies too: no round is chosen."""

    scenario: str
    target: str
    unit: str
    cpu_us: float
    cpu_us_low: float
    cpu_us_high: float
    requests_s: float
    added_p50_ms: float
    added_p99_ms: float
    """Above the engine asked directly: of whole replies, or of chunks where they are paced."""
    delay_max_ms: float
    rss_mb: float
    rss_kb_stream: float
    errors: int
    paceline_is: float | None = None
    """Paceline's CPU over this proxy's: below 1, Paceline needs less."""


def rows(scenario: Scenario, windows: Sequence[Window]) -> list[Row]:
    """One row a proxy, in the order in which they were measured."""
    names = list(dict.fromkeys(window.target for window in windows))
    direct = _times(scenario, [w for w in windows if w.target == DIRECT])
    found = [
        _row(scenario, [w for w in windows if w.target == name], direct)
        for name in names
        if name != DIRECT
    ]
    ours = next((row.cpu_us for row in found if row.target == "paceline"), None)
    for row in found:
        if ours is not None and row.cpu_us:
            row.paceline_is = ours / row.cpu_us
    return found


def _times(scenario: Scenario, windows: Sequence[Window]) -> tuple[float, float, float]:
    """The rounds' median of p50 and p99, and the most of all rounds, in ms."""
    series = [w.load.delay if scenario.unit == "chunk" else w.load.latency for w in windows]
    p50 = statistics.median(one.p50 for one in series)
    p99 = statistics.median(one.p99 for one in series)
    return p50 / 1e6, p99 / 1e6, max(one.max for one in series) / 1e6


def _row(scenario: Scenario, windows: Sequence[Window], direct: tuple[float, float, float]) -> Row:
    cpu = [window.cpu_us for window in windows]
    times = _times(scenario, windows)
    return Row(
        scenario=scenario.name,
        target=windows[0].target,
        unit=scenario.unit,
        cpu_us=statistics.median(cpu),
        cpu_us_low=min(cpu),
        cpu_us_high=max(cpu),
        requests_s=max(window.load.requests / window.load.seconds for window in windows),
        added_p50_ms=times[0] - direct[0],
        added_p99_ms=times[1] - direct[1],
        delay_max_ms=times[2],
        rss_mb=max(window.rss_mb for window in windows),
        rss_kb_stream=statistics.median(window.rss_kb_stream for window in windows),
        errors=sum(window.load.errors for window in windows),
    )


HEAD = (
    f"{'scenario':10} {'proxy':14} {'CPU us':>9} {'(range)':>15} {'ours is':>8} {'req/s':>8}"
    f" {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8} {'RSS MB':>7} {'kB/conn':>8} {'errors':>6}"
)


def line(row: Row) -> str:
    """One line of the table under `HEAD`."""
    ratio = "" if row.paceline_is is None else f"{row.paceline_is:.2f}x"
    between = f"({row.cpu_us_low:.0f}-{row.cpu_us_high:.0f})"
    return (
        f"{row.scenario:10} {row.target:14} {row.cpu_us:6.1f}/{row.unit[:2]} {between:>15}"
        f" {ratio:>8} {row.requests_s:8.0f} {row.added_p50_ms:8.2f} {row.added_p99_ms:8.2f}"
        f" {row.delay_max_ms:8.2f} {row.rss_mb:7.0f} {row.rss_kb_stream:8.1f} {row.errors:6d}"
    )
