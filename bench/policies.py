"""Every policy on every workload and both engines, in virtual time.

    python -m bench.policies [--policies auto,lpm] [--markdown] [--plot docs/img/policies.svg]

Llama-3.1-8B on an H100 as the engine models play it, with a KV pool of 65,536 tokens; the models
are within 10% of real runs. Workloads: `many` 64 families of 6 prompts (2,000 shared tokens, 200 of
their own, 16 out) and `long` 24 of 6 (6,000, 100, 64), all at once, too many for the pool; `fit` 8
of 48, which fit; `p45` and `p20` 600 prompts of `many`'s kind (32 out) at 45 and 20 a second. Then
`many` and `p45` on two and four replicas, the rate multiplied, and `many` from two tenants of whom
one has four times as many families; Jain's index is over what each was served until one was done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import click

from bench.figures import Run, summarise
from bench.virtual import WORKLOADS, Workload, jain, play
from paceline.engines.model.engine import ModelKind
from paceline.policies.registry import GROUP
from paceline.sim.run import NO_PROXY

TENANTS = replace(WORKLOADS["many"], tenants=("heavy", "heavy", "heavy", "heavy", "light"))
DIRECT = "direct"
KINDS: tuple[ModelKind, ...] = ("vllm", "sglang")


def cases() -> Iterator[tuple[str, Workload, int]]:
    """Name, workload and number of replicas."""
    for name, workload in WORKLOADS.items():
        yield name, workload, 1
    for replicas in (2, 4):
        yield f"many x{replicas}", WORKLOADS["many"], replicas
        faster = replace(WORKLOADS["p45"], rate=45.0 * replicas)
        yield f"p45 x{replicas}", faster, replicas
    yield "tenants", TENANTS, 1


def measure(kind: ModelKind, name: str, workload: Workload, replicas: int, target: str) -> Run:
    """One run of one policy, or directly."""
    policy = NO_PROXY if target == DIRECT else target
    played = play(workload, kind, policy, replicas)
    run = summarise(kind, name, target, played.results)
    run.hit_rate = played.hit_rate
    run.jain = jain(list(played.served.values()))
    return run


def row(run: Run) -> list[str]:
    """One line of the table."""
    times = (run.makespan_s, run.ttft_mean_s, run.ttft_p50_s, run.ttft_p99_s)
    makespan, mean, p50, p99 = (f"{seconds:.2f}" for seconds in times)
    fair = f"{run.jain:.2f}" if run.workload == "tenants" else ""
    return [
        run.engine,
        run.workload,
        run.target,
        makespan,
        f"{run.hit_rate:.2f}",
        mean,
        p50,
        p99,
        fair,
    ]


HEAD = ["engine", "workload", "policy", "makespan", "hit", "mean", "p50", "p99", "Jain"]
WIDTHS = [7, 9, 23, 9, 5, 6, 6, 6, 5]


def line(cells: Sequence[str]) -> str:
    """Cells in columns."""
    return " ".join(
        cell.ljust(w) if w in (7, 9, 23) else cell.rjust(w)
        for cell, w in zip(cells, WIDTHS, strict=True)
    )


def markdown(runs: Sequence[Run]) -> str:
    """Policies down, workloads across; in each cell vLLM and SGLang."""
    workloads = list(dict.fromkeys(run.workload for run in runs))
    lines = ["| | " + " | ".join(workloads) + " |", "|---" * (len(workloads) + 1) + "|"]
    for target in dict.fromkeys(run.target for run in runs):
        mine = [run for run in runs if run.target == target]
        pairs = [[f"{headline(r):.2f}" for r in mine if r.workload == w] for w in workloads]
        lines.append(f"| `{target}` | " + " | ".join(" / ".join(pair) for pair in pairs) + " |")
    return "\n".join(lines)


def headline(run: Run) -> float:
    """The one figure that counts: mean TTFT under a steady rate, else makespan; seconds."""
    return run.ttft_mean_s if run.workload.startswith("p") else run.makespan_s


def plot(runs: Sequence[Run], path: Path) -> None:
    """One panel an engine and workload, a bar a policy."""
    import matplotlib.pyplot as plt

    plt.rcParams["svg.fonttype"] = "none"  # text stays text: a sixth of the size
    engines = list(dict.fromkeys(run.engine for run in runs))
    figure, axes = plt.subplots(
        len(engines), len(WORKLOADS), figsize=(13, 6), layout="tight", squeeze=False
    )
    for across, workload in enumerate(WORKLOADS):
        for down, engine in enumerate(engines):
            shown = [r for r in runs if (r.engine, r.workload) == (engine, workload)]
            colours = [
                {"auto": "#1f77b4", DIRECT: "#888888"}.get(r.target, "#9ecae1") for r in shown
            ]
            axis = axes[down][across]
            bars = axis.barh([r.target for r in shown], [headline(r) for r in shown], color=colours)
            axis.bar_label(bars, fmt="%.2f", fontsize=6, padding=2)
            unit = "mean TTFT" if workload.startswith("p") else "makespan"
            axis.set_title(f"{engine}, {workload}: {unit}, s", fontsize=8)
            axis.invert_yaxis()
            axis.margins(x=0.2)
            axis.spines[["top", "right"]].set_visible(False)
            axis.tick_params(labelsize=7, labelleft=not across)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


@click.command()
@click.option("--policies", default="", help="Comma separated; all that are installed if empty.")
@click.option("--engines", default="vllm,sglang", help="Engine models, comma separated.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Also print one table of the gist.")
@click.option("--plot", "path", type=click.Path(path_type=Path), help="Draw the runs here.")
def main(policies: str, engines: str, as_markdown: bool, path: Path | None) -> None:
    """Run all and print a table."""
    names = policies.split(",") if policies else sorted(entry_points(group=GROUP).names)
    runs = []
    print(line(HEAD))
    for name, workload, replicas in cases():
        for engine in KINDS:
            if engine not in engines.split(","):
                continue
            for target in [DIRECT, *names]:
                runs.append(measure(engine, name, workload, replicas, target))
                print(line(row(runs[-1])), flush=True)
    if as_markdown:
        print(markdown(runs))
    if path is not None:
        plot(runs, path)


if __name__ == "__main__":
    main()
