"""Draws what the recorded runs of real engines gained.

python -m bench.gpu.plot bench/results/h100 docs/img/gain.svg
"""

from __future__ import annotations

import csv
from pathlib import Path

import click
import matplotlib.pyplot as plt

TITLES = {
    "many": "64 families x 6\n2,000 shared tokens",
    "long": "24 families x 6\n6,000 shared tokens",
    "fit": "8 families x 48\nall fits the cache",
    "p45": "45 requests a second\nmean time to first token",
}


def seconds(path: Path, workload: str) -> float:
    """Until all were served; for requests that arrive one by one, the mean time to first token."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if workload == "p45":
        return sum(float(row["first"]) - float(row["arrived"]) for row in rows) / len(rows)
    return max(float(row["last"]) for row in rows)


def hit_rate(path: Path) -> float:
    """Prompt tokens that the engine had cached, by its own count."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return sum(int(row["cached"]) for row in rows) / sum(int(row["prompt"]) for row in rows)


@click.command()
@click.argument("results", type=click.Path(path_type=Path, exists=True))
@click.argument("picture", type=click.Path(path_type=Path))
def main(results: Path, picture: Path) -> None:
    """One panel a workload: vLLM directly and through the proxy."""
    figure, axes = plt.subplots(1, len(TITLES), figsize=(10, 2.8), layout="constrained")
    for axis, (workload, title) in zip(axes, TITLES.items(), strict=True):
        paths = [results / f"vllm_{workload}_{target}.csv" for target in ("direct", "auto")]
        heights = [seconds(path, workload) for path in paths]
        bars = axis.bar(["direct", "paceline"], heights, color=["#9aa0a6", "#1a73e8"])
        labels = [
            f"{height:.1f} s\nhit {hit_rate(path):.0%}"
            for height, path in zip(heights, paths, strict=True)
        ]
        axis.bar_label(bars, labels, fontsize=8)
        axis.set_title(title, fontsize=9)
        axis.margins(y=0.25)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.set_yticks([])
    figure.suptitle("Real vLLM on one H100, KV pool of 65,536 tokens", fontsize=10)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture)


if __name__ == "__main__":
    main()
