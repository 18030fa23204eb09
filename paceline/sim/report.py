"""The results as one HTML page that needs nothing else: tables, distributions, time lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from paceline.sim.curves import Curve, cdf, hit_rate_over_time, over_time
from paceline.sim.experiment import Outcome
from paceline.sim.output import RELATIVE
from paceline.sim.record import Row
from paceline.sim.summary import Slo, e2e, tpot, ttft, wait
from paceline.sim.svg import chart
from paceline.sim.table import changes, results

GROUPS = 20
"""Families or tenants listed, those that wait longest."""
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#222}
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}
pre,table{font-size:12px;overflow-x:auto}td,th{padding:.1em .8em;text-align:right}
td:first-child,th:first-child{text-align:left}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:1em}
svg text{font:10px system-ui,sans-serif;fill:#444}svg .title{font-size:13px;fill:#111}
svg polyline{fill:none;stroke-width:1.6}.axis{fill:none;stroke:#888}.grid{stroke:#e4e4e4;fill:none}
"""


def write_report(path: Path, outcomes: Sequence[Outcome], *, calibrated: bool) -> None:
    """Write the page; OSError."""
    path.write_text(page(outcomes, calibrated=calibrated), "utf-8")


def page(outcomes: Sequence[Outcome], *, calibrated: bool) -> str:
    """The page; outcomes must have kept their rows."""
    groups = _by_cell(outcomes)
    sections = [
        "<h1>paceline sim</h1>",
        "" if calibrated else f"<p><b>{escape(RELATIVE)}</b></p>",
        "<h2>Results</h2>",
        f"<pre>{escape(results(outcomes))}</pre>",
        f"<pre>{escape(changes(outcomes))}</pre>",
        "<p>± is half of the 95% confidence interval over the seeds; changes are paired by seed. "
        f"{escape(_goodput(outcomes[0].slo))}</p><h2>Latency, all seeds together</h2>",
        _charts(_distributions(groups)),
        "<h2>Over time, first seed</h2>",
        _charts(_timelines({name: group[0] for name, group in groups.items()})),
        _waits("Tenants", groups, lambda row: row.tenant),
        _waits("Families", groups, lambda row: row.family),
    ]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>paceline sim</title>'
        f"<style>{STYLE}</style>{''.join(sections)}</html>\n"
    )


def _by_cell(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Outcomes of all seeds by a name that says what differs between the cells."""
    backends = {o.config.backends for o in outcomes}
    pools = {o.config.engine.kv_tokens for o in outcomes}
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        config = outcome.config
        name = config.policy
        name += f", {config.backends} engines" if len(backends) > 1 else ""
        name += f", pool {config.engine.kv_tokens}" if len(pools) > 1 else ""
        groups.setdefault(name, []).append(outcome)
    return groups


def _distributions(groups: Mapping[str, list[Outcome]]) -> Iterable[str]:
    for title, figure in (
        ("Time to first token", ttft),
        ("Time per output token", tpot),
        ("End to end", e2e),
        ("Wait in the proxy", wait),
    ):
        least = 2 if figure is tpot else 1
        series = {name: cdf(_values(group, figure, least)) for name, group in groups.items()}
        yield chart(title, series, x="seconds", y="part", log_x=True)


def _values(group: Iterable[Outcome], figure: Callable[[Row], float], least: int) -> list[float]:
    return [
        figure(row)
        for outcome in group
        for row in outcome.rows
        if row.last is not None and row.out >= least
    ]


def _timelines(firsts: Mapping[str, Outcome]) -> Iterable[str]:
    curves: tuple[tuple[str, str, Callable[[Outcome], Curve]], ...] = (
        ("Hit rate so far", "part", lambda o: hit_rate_over_time(o.samples)),
        ("Waiting in the proxy", "requests", lambda o: over_time(o.samples, lambda s: s.queued)),
        ("Waiting in an engine", "requests", lambda o: over_time(o.samples, lambda s: s.waiting)),
        ("Running in an engine", "requests", lambda o: over_time(o.samples, lambda s: s.running)),
        ("KV pool held by requests", "tokens", lambda o: over_time(o.samples, lambda s: s.kv_used)),
    )
    for title, unit, curve in curves:
        series = {name: curve(outcome) for name, outcome in firsts.items()}
        yield chart(title, series, x="seconds", y=unit)


def _goodput(slo: Slo) -> str:
    limits = ((slo.ttft_s, "TTFT"), (slo.tpot_s, "TPOT"), (slo.e2e_s, "E2E"))
    kept = [f"{name} up to {limit:g} s" for limit, name in limits if limit is not None]
    if not kept:
        return "Goodput: all completed requests a second, as no SLO was given."
    return f"Goodput: completed requests a second with {', '.join(kept)}."


def _waits(title: str, groups: Mapping[str, list[Outcome]], group: Callable[[Row], str]) -> str:
    """A table of families or tenants against cells; empty where there is but one."""
    columns = {name: _by_group(outcomes, group) for name, outcomes in groups.items()}
    worst: dict[str, float] = {}
    for column in columns.values():
        for name, rows in column.items():
            worst[name] = max(_mean(rows, ttft), worst.get(name, 0.0))
    if len(worst) < 2:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    lines = [
        f"<h2>{title}, those that wait longest</h2><p>Seconds: mean in the proxy's queue / mean to "
        "the first token / longest to the first token.</p>",
        f"<table><tr><th></th>{head}</tr>",
    ]
    for name in sorted(worst, key=lambda g: -worst[g])[:GROUPS]:
        cells = "".join(f"<td>{_wait(column.get(name, []))}</td>" for column in columns.values())
        lines.append(f"<tr><td>{escape(name) or '-'}</td>{cells}</tr>")
    return "".join(lines) + "</table>"


def _by_group(outcomes: Iterable[Outcome], group: Callable[[Row], str]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in _served(outcomes):
        found.setdefault(group(row), []).append(row)
    return found


def _wait(rows: Sequence[Row]) -> str:
    if not rows:
        return "-"
    return f"{_mean(rows, wait):.3f} / {_mean(rows, ttft):.3f} / {max(map(ttft, rows)):.3f}"


def _mean(rows: Sequence[Row], figure: Callable[[Row], float]) -> float:
    return sum(map(figure, rows)) / len(rows)


def _served(outcomes: Iterable[Outcome]) -> Iterable[Row]:
    return (row for outcome in outcomes for row in outcome.rows if row.last is not None)


def _charts(charts: Iterable[str]) -> str:
    return f'<div class="charts">{"".join(f"<div>{c}</div>" for c in charts if c)}</div>'
