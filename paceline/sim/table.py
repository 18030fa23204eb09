"""The results as text for a terminal: figures with intervals, and what a policy changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from paceline.sim.experiment import Outcome
from paceline.sim.statistics import Estimate, change, estimate
from paceline.sim.summary import Summary

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


def results(outcomes: Sequence[Outcome]) -> str:
    """One line a cell of the grid; +- is half the 95% interval over the seeds."""
    rows = [["policy", "backends", "kv_tokens", *FIGURES]]
    for (policy, backends, kv), summaries in cells(outcomes).items():
        figures = [
            _figure(estimate([figure(s) for s in summaries]), shape)
            for figure, shape in FIGURES.values()
        ]
        rows.append([policy, str(backends), str(kv), *figures])
    return aligned(rows)


def changes(outcomes: Sequence[Outcome]) -> str:
    """What every other policy changes against the first, paired by seed; empty if there is none."""
    groups = cells(outcomes)
    first = next(iter(groups))[0]
    rows = [["against " + first, "backends", "kv_tokens", *COMPARED]]
    for (policy, backends, kv), summaries in groups.items():
        if policy != first:
            base = groups[first, backends, kv]
            figures = [_change(summaries, base, FIGURES[name][0]) for name in COMPARED]
            rows.append([policy, str(backends), str(kv), *figures])
    return aligned(rows) if len(rows) > 1 else ""


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
