"""Draws the recorded runs of a folder: a row an engine, a panel a workload, a bar a target.

python -m bench.gpu.plot bench/results/h100 docs/img/gain.svg
"""

from __future__ import annotations

import csv
from pathlib import Path

import click
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

TITLES = {
    "many": "families x 6, 2,000 shared\nall at once",
    "long": "families x 6, 6,000 shared\nall at once",
    "fit": "families x 48, 2,000 shared\nall fits the cache",
    "p45": "45 requests a second\nmean time to first token",
    "poisson": "90 requests a second\nmean time to first token",
}
STEADY = ("p45", "poisson")
"""Workloads whose requests come one by one: time to first token counts, elsewhere the makespan."""
TARGETS = {
    "direct": "#9aa0a6",
    "sglang-router": "#c5a3d9",
    "vllm-router": "#e3b17c",
    "auto": "#1a73e8",
    "paceline": "#1a73e8",
}
ENGINES = {"vllm": "vLLM", "sglang": "SGLang"}

Rows = list[dict[str, str]]


def seconds(rows: Rows, workload: str) -> float:
    """Until all were served, or the mean time to first token."""
    if workload in STEADY:
        return sum(float(row["first"]) - float(row["arrived"]) for row in rows) / len(rows)
    return max(float(row["last"]) for row in rows)


def hit_rate(rows: Rows) -> float:
    """Prompt tokens that the engine had cached, by its own count."""
    return sum(int(row["cached"]) for row in rows) / sum(int(row["prompt"]) for row in rows)


def runs(results: Path, engine: str, workload: str) -> dict[str, Rows]:
    """The recorded runs by target."""
    found = {}
    for target in TARGETS:
        path = results / f"{engine}_{workload}_{target}.csv"
        if path.exists():
            with path.open(newline="") as file:
                found[target] = list(csv.DictReader(file))
    return found


def draw(axis: Axes, engine: str, workload: str, found: dict[str, Rows]) -> None:
    """One panel."""
    names = ["paceline" if target == "auto" else target for target in found]
    heights = [seconds(rows, workload) for rows in found.values()]
    bars = axis.bar(
        [name.replace("-", "-\n") for name in names], heights, color=[TARGETS[t] for t in found]
    )
    labels = [f"{h:.1f} s\n{hit_rate(r):.0%}" for h, r in zip(heights, found.values(), strict=True)]
    axis.bar_label(bars, labels, fontsize=7)
    axis.set_title(f"{ENGINES[engine]}: {TITLES[workload]}", fontsize=8)
    axis.margins(y=0.25)
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.set_yticks([])


@click.command()
@click.argument("results", type=click.Path(path_type=Path, exists=True))
@click.argument("picture", type=click.Path(path_type=Path))
def main(results: Path, picture: Path) -> None:
    """Seconds and hit rates of every recorded run but p20's, which look alike."""
    plt.rcParams["svg.fonttype"] = "none"  # text stays text: a sixth of the size
    workloads = [name for name in TITLES if runs(results, "vllm", name)]
    figure, grid = plt.subplots(
        len(ENGINES), len(workloads), figsize=(11, 5), layout="constrained", squeeze=False
    )
    for row, engine in zip(grid, ENGINES, strict=True):
        for axis, workload in zip(row, workloads, strict=True):
            draw(axis, engine, workload, runs(results, engine, workload))
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture)


if __name__ == "__main__":
    main()
