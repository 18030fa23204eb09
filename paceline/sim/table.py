"""The results as text for a terminal: figures with intervals, and what a policy changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from paceline.sim.experiment import Outcome
from paceline.sim.statistics import Estimate, change, estimate
from paceline.sim.summary import Slo, Summary

Figure = Callable[[Summary], float]

FIGURES: dict[str, tuple[Figure, str]] = {
    "makespan s": (lambda s: s.makespan_s, ".2f"),
    "hit rate": (lambda s: s.hit_rate, ".3f"),
    "TTFT mean s": (lambda s: s.ttft_s.mean, ".3f"),
    "TTFT p99 s": (lambda s: s.ttft_s.p99, ".3f"),
    "TPOT mean ms": (lambda s: s.tpot_s.mean * 1e3, ".2f"),
    "E2E mean s": (lambda s: s.e2e_s.mean, ".3f"),
    "E2E p99 s": (lambda s: s.e2e_s.p99, ".3f"),
    "Jain": (lambda s: s.jain, ".3f"),
    "goodput/s": (lambda s: s.goodput_per_s, ".2f"),
    "refused": (lambda s: s.refused, ".0f"),
}
"""Columns: what is shown of a run, and how."""
COMPARED = ("makespan s", "TTFT mean s", "TTFT p99 s", "TPOT mean ms", "E2E mean s")
"""Columns whose change against the first policy is worth a line."""
VARIED = ("backends", "kv_tokens")
"""What besides the policy tells cells apart."""

Cell = tuple[str, int, int]
"""Policy, backends, KV pool."""


def cells(outcomes: Sequence[Outcome]) -> dict[Cell, list[Summary]]:
    """Summaries of all seeds, by what else the run was."""
    groups: dict[Cell, list[Summary]] = {}
    for outcome in outcomes:
        config = outcome.config
        cell = config.policy, config.backends, config.engine.kv_tokens
        groups.setdefault(cell, []).append(outcome.summary)
    return groups


def headline(outcomes: Sequence[Outcome], *, workload: str, timing: str) -> str:
    """What all runs have in common.

    Args:
        outcomes: of every run.
        workload: the generator's or the trace's name.
        timing: what the step times are from.
    """
    requests = {outcome.summary.requests for outcome in outcomes}
    least = f"{min(requests)} to " if len(requests) > 1 else ""
    about = [
        f"{workload}, {least}{_counted(max(requests), 'request')}",
        f"{outcomes[0].config.engine.kind}, {timing}",
    ]
    _, backends, pools = (set(values) for values in zip(*cells(outcomes), strict=True))
    engines = [_counted(n, "backend") for n in backends if len(backends) == 1]
    engines += [f"{pool} KV tokens" for pool in pools if len(pools) == 1]
    seeds = len({outcome.config.seed for outcome in outcomes})
    return "; ".join([*about, *([", ".join(engines)] if engines else []), _counted(seeds, "seed")])


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def result_rows(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """One row a cell of the grid below their heads; +- is half the 95% interval over the seeds.

    Backends and pools have a column where they vary, goodput has one where there is an SLO and
    refusals where there are any.
    """
    groups = cells(outcomes)
    figures = dict(FIGURES)
    if outcomes[0].slo == Slo():
        del figures["goodput/s"]
    if not any(outcome.summary.refused for outcome in outcomes):
        del figures["refused"]
    rows = [[*_heads(groups, "policy"), *figures]]
    for cell, summaries in groups.items():
        shown = [
            _figure(estimate([figure(s) for s in summaries]), shape)
            for figure, shape in figures.values()
        ]
        rows.append([*_name(groups, cell), *shown])
    return rows


def change_rows(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """What every other policy changes against the first, paired by seed; empty if there is none."""
    groups = cells(outcomes)
    first = next(iter(groups))[0]
    rows = [[*_heads(groups, "against " + first), *COMPARED]]
    for cell, summaries in groups.items():
        if cell[0] != first:
            base = groups[first, cell[1], cell[2]]
            figures = [_change(summaries, base, FIGURES[name][0]) for name in COMPARED]
            rows.append([*_name(groups, cell), *figures])
    return rows if len(rows) > 1 else []


def _heads(groups: Iterable[Cell], policy: str) -> list[str]:
    return [policy, *(name for name, vary in zip(VARIED, _vary(groups), strict=True) if vary)]


def _name(groups: Iterable[Cell], cell: Cell) -> list[str]:
    shown = (str(value) for value, vary in zip(cell[1:], _vary(groups), strict=True) if vary)
    return [cell[0], *shown]


def _vary(groups: Iterable[Cell]) -> list[bool]:
    """Whether backends do, and KV pools."""
    _, *columns = zip(*groups, strict=True)
    return [len(set(column)) > 1 for column in columns]


def _change(summaries: Sequence[Summary], base: Sequence[Summary], figure: Figure) -> str:
    found = change([figure(s) for s in summaries], [figure(s) for s in base])
    if found is None:
        return "-"
    return _figure(Estimate(found.mean * 100, _percent(found.half)), "+.1f", "%")


def _percent(half: float | None) -> float | None:
    return None if half is None else half * 100


def _figure(estimate: Estimate, shape: str, unit: str = "") -> str:
    text = f"{estimate.mean:{shape}}{unit}"
    if not estimate.half:
        return text
    return f"{text} ±{estimate.half:{shape.removeprefix('+')}}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the first one to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
