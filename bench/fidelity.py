"""Simulated against real: runs that vLLM and SGLang served on one H100, request by request.

    python -m bench.fidelity [--data FOLDER] [--check]

Prints the tables of docs/simulator.md, the second one made by `bench.ground_truth`. The simulator
is calibrated on `*_calib.csv*` and `*_itl.csv*` alone, where there are such; every other file is a
run to compare with. Its order, lengths and arrivals are taken from its own rows.
"""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from statistics import fmean

import click
from msgspec import Struct

from bench import ground_truth
from paceline.engines.model.engine import EngineConfig, ModelKind
from paceline.engines.model.presets import PRESETS
from paceline.sim.calibrate import calibrate
from paceline.sim.calibration import Calibration
from paceline.sim.record import Row
from paceline.sim.run import NO_PROXY, RunConfig, simulate
from paceline.sim.summary import Slo, Summary, summarise
from paceline.sim.workload import Session, Turn, fresh, single

DATA = Path(__file__).parents[1] / "tests" / "sim" / "data"
KV_TOKENS = 65_536
"""Pool of all the recorded engines."""
PRESET = PRESETS["llama-3.1-8b-h100-triton"]
"""SGLang ran with triton attention; vLLM's column is the plain preset's."""
GROUND_TRUTH = "ground_truth"
"""Folder of the runs that `bench.ground_truth` compares."""


class Comparison(Struct):
    """One recorded run and its simulation."""

    name: str
    engine: ModelKind
    real: Summary
    simulated: Summary


def compare(folder: Path) -> Iterator[Comparison]:
    """Every recorded run of the folder, vLLM's after its calibration."""
    for kind, files in (("vllm", "vllm_*"), ("sglang", "sglang_*")):
        engine: ModelKind = "vllm" if kind == "vllm" else "sglang"
        paths = sorted(folder.rglob(f"{files}.csv*"))
        measured = [path for path in paths if "_calib." in path.name or "_itl." in path.name]
        found = calibrate(engine, measured, PRESET) if measured else None
        for path in paths:
            if path not in measured:
                yield _compare(path, engine, found)


def _compare(path: Path, engine: ModelKind, calibration: Calibration | None) -> Comparison:
    real = list(real_rows(path))
    name = path.name.partition(".csv")[0]
    return simulated(name, engine, calibration, real, sessions(real, name))


def simulated(
    name: str,
    engine: ModelKind,
    calibration: Calibration | None,
    real: Sequence[Row],
    sessions: Iterator[Session],
) -> Comparison:
    """The same requests on the simulated engine, without the proxy."""
    config = RunConfig(
        policy=NO_PROXY,
        engine=EngineConfig(
            kind=engine,
            time=calibration.time if calibration else getattr(PRESET, engine),
            kv_tokens=KV_TOKENS,
            release="0.5.16",
        ),
        frontend=calibration.frontend if calibration else None,
        busy=calibration.busy if calibration else 1.0,
    )
    made = simulate(config, sessions)
    return Comparison(name, engine, summarise(real, Slo()), summarise(made.rows, Slo()))


def real_rows(path: Path) -> Iterator[Row]:
    """The recorded rows in the order of sending; a burst is due at 0, when it began."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        for row in csv.DictReader(file):
            yield Row(
                id=row["i"],
                arrival=float(row.get("arrival") or 0.0),
                first=float(row["first"]),
                last=float(row["last"]),
                dispatched=float(row["sent"]),
                prompt=int(row["prompt"]),
                out=int(row["out"]),
                cached=int(row["cached"]),
                family=row["fam"],
            )


def sessions(rows: Sequence[Row], name: str) -> Iterator[Session]:
    """The same requests with other tokens: only what is shared matters."""
    shared = _shared(rows)
    rng = Random(name)
    prefixes = {family: fresh(rng, shared) for family in sorted({row.family for row in rows})}
    for row in rows:
        turn = Turn(
            prompt=prefixes[row.family] + fresh(rng, row.prompt - shared),
            output_tokens=row.out,
            max_tokens=row.out,
            family=row.family,
        )
        yield single(row.id, turn, row.arrival)


def _shared(rows: Sequence[Row]) -> int:
    """Tokens that a family's prompts share: what most requests with any hit found in the cache."""
    return Counter(row.cached for row in rows if row.cached).most_common(1)[0][0]


HEAD = "| run | hit rate | makespan s | TTFT mean s | TTFT p50 s | TTFT p90 s | E2E mean s |"


def table(comparisons: Sequence[Comparison]) -> str:
    """Markdown: real -> simulated (difference)."""
    lines = [HEAD, "|---|---|---|---|---|---|---|"]
    for c in comparisons:
        real, made = c.real, c.simulated
        pairs = [
            (real.makespan_s, made.makespan_s),
            (real.ttft_s.mean, made.ttft_s.mean),
            (real.ttft_s.p50, made.ttft_s.p50),
            (real.ttft_s.p90, made.ttft_s.p90),
            (real.e2e_s.mean, made.e2e_s.mean),
        ]
        cells = [f"{a:.3f} → {b:.3f} ({b / a - 1:+.1%})" for a, b in pairs]
        hit = f"{real.hit_rate:.3f} → {made.hit_rate:.3f}"
        lines.append(f"| {' | '.join([c.name, hit, *cells])} |")
    return "\n".join(lines)


class Limit(Struct, frozen=True):
    """What a run may be off by: the hit rate by so much, the rest in proportion."""

    hit_rate: float
    makespan: float
    ttft: float
    """Its mean; for vLLM its 90th percentile and the mean E2E too."""
    p50: float | None = None
    p50_seconds: float = 0.0
    """Or so much, if that is more."""


def limit(run: Comparison) -> Limit:
    """Promised for such a run; the median of a TTFT with two humps hangs on milliseconds."""
    if run.engine == "sglang":
        return Limit(0.02, 0.05, 0.10)
    return Limit(0.01, 0.03 if "open" in run.name else 0.06, 0.06, 0.06, 0.020)


def failures(run: Comparison) -> list[str]:
    """What is further off than promised."""
    real, made, most = run.real, run.simulated, limit(run)
    off = {
        "hit rate": (abs(made.hit_rate - real.hit_rate), most.hit_rate),
        "makespan": (_off(real.makespan_s, made.makespan_s), most.makespan),
        "TTFT mean": (_off(real.ttft_s.mean, made.ttft_s.mean), most.ttft),
    }
    if most.p50 is not None:
        p50 = max(most.p50, most.p50_seconds / real.ttft_s.p50)
        off |= {
            "TTFT p50": (_off(real.ttft_s.p50, made.ttft_s.p50), p50),
            "TTFT p90": (_off(real.ttft_s.p90, made.ttft_s.p90), most.ttft),
            "E2E mean": (_off(real.e2e_s.mean, made.e2e_s.mean), most.ttft),
        }
    return [f"{run.name}: {what}" for what, (value, allowed) in off.items() if value > allowed]


def _off(real: float, made: float) -> float:
    return abs(made / real - 1)


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), default=DATA)
@click.option("--check", is_flag=True, help="Fail when a run is further off than promised.")
def main(data: Path, check: bool) -> None:
    """Calibrate, simulate every recorded run, print the table."""
    comparisons = list(compare(data))
    click.echo(table(comparisons))
    error = fmean(_off(c.real.makespan_s, c.simulated.makespan_s) for c in comparisons)
    click.echo(f"\nmean makespan error {error:.1%}\n")
    broken = [line for comparison in comparisons for line in failures(comparison)]
    if (data / GROUND_TRUTH).exists():
        truths = list(ground_truth.ground_truth(data / GROUND_TRUTH))
        click.echo(ground_truth.table(truths))
        broken += [line for truth in truths for line in ground_truth.failures(truth)]
    for line in broken:
        click.echo(f"further off than promised: {line}", err=True)
    if check and broken:
        raise click.ClickException(f"{len(broken)} promises broken")


if __name__ == "__main__":
    main()
