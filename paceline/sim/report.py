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
from paceline.sim.svg import chart, legend
from paceline.sim.table import change_rows, result_rows

GROUPS = 20
"""Families or tenants listed, those that wait longest."""
STYLE = """
:root{color-scheme:light dark;--ground:#fff;--ink:#1f2321;--soft:#626c66;--rule:#dde1dc;
--note:#fbead0}
@media(prefers-color-scheme:dark){:root{--ground:#141715;--ink:#e5e9e6;--soft:#98a39d;
--rule:#2f3532;--note:#40300f}}
body{font:15px/1.5 system-ui,sans-serif;max-width:1200px;margin:2em auto;padding:0 1em;
background:var(--ground);color:var(--ink);font-variant-numeric:tabular-nums}
h1{font-size:1.5em;margin:0}h2{font-size:1.15em;margin:2em 0 .5em}p{margin:.4em 0}
.soft{color:var(--soft);font-size:13px}.note{background:var(--note);padding:.4em .8em}
.wide{overflow-x:auto;margin:.8em 0}table{font-size:13px;border-collapse:collapse}
td,th{padding:.2em .65em;text-align:right;white-space:nowrap;border-bottom:1px solid var(--rule)}
th{font-weight:600}td:first-child,th:first-child{text-align:left;padding-left:0}
.legend{display:flex;flex-wrap:wrap;gap:.2em 1.4em;list-style:none;padding:0;margin:.5em 0;
font-size:13px}
.legend i{display:inline-block;width:22px;border-width:3px 0 0;margin-right:.5em;
vertical-align:middle}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:1em}
svg text{font:10px system-ui,sans-serif;fill:var(--soft)}svg .title{font-size:13px;fill:var(--ink)}
svg .unit{font-size:10px;fill:var(--soft)}svg polyline{fill:none;stroke-width:1.6}
.axis{fill:none;stroke:var(--soft)}.grid{stroke:var(--rule);fill:none}
"""


def write_report(path: Path, outcomes: Sequence[Outcome], about: str, *, calibrated: bool) -> None:
    """Write the page; OSError."""
    path.write_text(page(outcomes, about, calibrated=calibrated), "utf-8")


def page(outcomes: Sequence[Outcome], about: str, *, calibrated: bool) -> str:
    """The page, with what is common to all runs on top; outcomes must have kept their rows."""
    groups = _by_cell(outcomes)
    sections = [
        f'<h1>paceline sim</h1><p class="soft">{escape(about)}</p>',
        "" if calibrated else f'<p class="note">{escape(RELATIVE)}</p>',
        f"<h2>Results</h2>{_table(result_rows(outcomes))}{_table(change_rows(outcomes))}",
        '<p class="soft">± is half of the 95% confidence interval over the seeds; changes are '
        f"paired by seed. {escape(_goodput(outcomes[0].slo))}</p>",
        f"<h2>Latency, all seeds together</h2>{legend(groups)}",
        _charts(_distributions(groups)),
        f"<h2>Over time, first seed</h2>{legend(groups)}",
        _charts(_timelines({name: group[0] for name, group in groups.items()})),
        _waits("Tenants", groups, lambda row: row.tenant),
        _waits("Families", groups, lambda row: row.family),
    ]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>paceline sim</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<style>{STYLE}</style>{''.join(sections)}</html>\n"
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Rows below their heads, which scroll where the page is narrower; empty without rows."""
    if not rows:
        return ""
    tags = ["th"] + ["td"] * (len(rows) - 1)
    lines = (
        f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in row)}</tr>"
        for tag, row in zip(tags, rows, strict=True)
    )
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _by_cell(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Outcomes of all seeds by a name that says what differs between the cells."""
    backends = {o.config.backends for o in outcomes}
    pools = {o.config.engine.kv_tokens for o in outcomes}
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        config = outcome.config
        name = config.policy
        engines = "engine" if config.backends == 1 else "engines"
        name += f", {config.backends} {engines}" if len(backends) > 1 else ""
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
        yield chart(title, series, x="seconds", y="part of the requests", log_x=True)


def _values(group: Iterable[Outcome], figure: Callable[[Row], float], least: int) -> list[float]:
    return [
        figure(row)
        for outcome in group
        for row in outcome.rows
        if row.last is not None and row.out >= least
    ]


def _timelines(firsts: Mapping[str, Outcome]) -> Iterable[str]:
    curves: tuple[tuple[str, str, Callable[[Outcome], Curve]], ...] = (
        ("Hit rate so far", "part of the prompt tokens", lambda o: hit_rate_over_time(o.samples)),
        ("Waiting in the proxy", "requests", lambda o: over_time(o.samples, lambda s: s.queued)),
        (
            "Waiting in an engine",
            "requests, mean",
            lambda o: over_time(o.samples, lambda s: s.waiting),
        ),
        (
            "Running in an engine",
            "requests, mean",
            lambda o: over_time(o.samples, lambda s: s.running),
        ),
        (
            "KV pool held by requests",
            "tokens an engine, mean",
            lambda o: over_time(o.samples, lambda s: s.kv_used),
        ),
    )
    for title, unit, curve in curves:
        series = {name: curve(outcome) for name, outcome in firsts.items()}
        yield chart(title, series, x="seconds", y=unit)


def _goodput(slo: Slo) -> str:
    limits = ((slo.ttft_s, "TTFT"), (slo.tpot_s, "TPOT"), (slo.e2e_s, "E2E"))
    kept = [f"{name} up to {limit:g} s" for limit, name in limits if limit is not None]
    if not kept:
        return ""
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
    lines = [["", *columns]]
    for name in sorted(worst, key=lambda g: -worst[g])[:GROUPS]:
        lines.append([name or "-", *(_wait(column.get(name, [])) for column in columns.values())])
    return (
        f'<h2>{title}, those that wait longest</h2><p class="soft">Seconds: mean in the proxy\'s '
        "queue / mean to the first token / longest to the first token. "
        f"{len(lines) - 1} of {len(worst)}.</p>{_table(lines)}"
    )


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
