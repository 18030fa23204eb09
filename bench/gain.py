"""Direct against through the proxy on emulated engines: makespan, hit rate, time to first token.

    python -m bench.gain [--check] [--json FILE] [--plot FILE]

64 families of 6 prompts (2,000 shared and 200 own tokens, 16 out) are sent at once in shuffled
order to one emulated engine: directly, and through `paceline serve` under each policy. With a KV
pool of 16 families order decides; with a pool that holds everything the proxy must cost nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from bench.figures import Run, summarise, table
from bench.load import Prompt, families, send
from bench.processes import free_port, paceline

SHARED, UNIQUE, OUTPUT = 2000, 200, 16
POOLS = {"16 families": 16 * (SHARED + UNIQUE), "everything": 400_000}


def measure(engine: str, pool: str, target: str, prompts: list[Prompt], speed: float) -> Run:
    """One fresh engine, one fresh proxy unless direct, one run."""
    options = ("--kind", engine, "--kv-tokens", str(POOLS[pool]), "--speed", str(speed))
    with paceline("emulate", *options, port=free_port(), ready="/v1/models") as url:
        if target == "direct":
            return summarise(engine, pool, target, asyncio.run(send(url, "emulated", prompts)))
        serve = ("serve", "--backend", url, "--policy", target)
        with paceline(*serve, port=free_port(), ready="/ready") as proxy:
            return summarise(engine, pool, target, asyncio.run(send(proxy, "emulated", prompts)))


def failures(runs: Sequence[Run]) -> list[str]:
    """Promises that these runs break."""
    broken = []
    for run in runs:
        name = (
            f"{run.engine}, pool of {run.workload}, {run.target}: {run.against_direct:.2f}x direct"
        )
        if run.workload == "everything" and run.against_direct < 0.97:
            broken.append(f"{name}, promised at least 0.97x")
        if run.workload != "everything" and run.target == "lpm" and run.against_direct < 2.0:
            broken.append(f"{name}, promised at least 2x")
    return broken


def plot(runs: Sequence[Run], path: Path) -> None:
    """Bars of makespan, one panel an engine and pool."""
    import matplotlib.pyplot as plt

    panels = list(dict.fromkeys((run.engine, run.workload) for run in runs))
    figure, axes = plt.subplots(1, len(panels), figsize=(3 * len(panels), 3), layout="tight")
    for axis, (engine, pool) in zip(axes, panels, strict=True):
        shown = [run for run in runs if (run.engine, run.workload) == (engine, pool)]
        colours = ["#888888" if run.target == "direct" else "#1f77b4" for run in shown]
        bars = axis.bar([run.target for run in shown], [r.makespan_s for r in shown], color=colours)
        axis.bar_label(bars, [f"hit {run.hit_rate:.0%}" for run in shown], fontsize=7)
        axis.set_title(f"{engine}\npool: {pool}", fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(axis="x", labelsize=8)
    axes[0].set_ylabel("seconds until all are served")
    figure.savefig(path)


@click.command()
@click.option("--engines", default="vllm,sglang", help="Dialects, comma separated.")
@click.option("--policies", default="fcfs,lpm,random", help="Policies, comma separated.")
@click.option("--count", default=64, help="Families.")
@click.option("--members", default=6, help="Requests a family.")
@click.option("--speed", default=1.0, help="Of the emulated engine; faster hides less of our cost.")
@click.option("--check", is_flag=True, help="Fail when a promise is broken.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the runs here.")
@click.option("--plot", "plot_path", type=click.Path(path_type=Path), help="Draw the runs here.")
def main(
    engines: str,
    policies: str,
    count: int,
    members: int,
    speed: float,
    check: bool,
    json_path: Path | None,
    plot_path: Path | None,
) -> None:
    """Measure, print a table, and optionally check, save and draw it."""
    prompts = families(count, members, SHARED, UNIQUE, OUTPUT)
    runs: list[Run] = []
    for pool in POOLS:
        for engine in engines.split(","):
            direct = measure(engine, pool, "direct", prompts, speed)
            runs.append(direct)
            for policy in policies.split(","):
                run = measure(engine, pool, policy, prompts, speed)
                run.against_direct = direct.makespan_s / run.makespan_s
                runs.append(run)
    table(runs)
    if json_path is not None:
        json_path.write_bytes(msgspec.json.format(msgspec.json.encode(runs)))
    if plot_path is not None:
        plot(runs, plot_path)
    if check and (broken := failures(runs)):
        raise click.ClickException("; ".join(broken))


if __name__ == "__main__":
    main()
