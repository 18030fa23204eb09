"""`paceline sim`: runs a grid of simulations and says what came of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from paceline.engines.model.engine import EngineConfig, EnginePolicy, ModelKind
from paceline.engines.model.presets import PRESETS
from paceline.engines.model.sglang_release import RELEASES
from paceline.policies.decode import SettingError, hint
from paceline.policies.registry import PolicyError
from paceline.sim.calibration import Calibration, CalibrationError, read_calibration
from paceline.sim.cluster import ClusterError, run_on_ray
from paceline.sim.experiment import Job, Outcome, grid, run_all
from paceline.sim.explain import UnknownRequest, explain
from paceline.sim.extras import MissingExtra, extra
from paceline.sim.options import generator, generator_options, names
from paceline.sim.output import RELATIVE, as_json, write_parquet, write_requests, write_runs
from paceline.sim.perfetto import write_timeline
from paceline.sim.report import write_report
from paceline.sim.rows import TraceError
from paceline.sim.run import NO_PROXY, RunConfig
from paceline.sim.spec import KINDS, Arrivals, Synthetic, Trace, WorkloadSpec
from paceline.sim.summary import Slo
from paceline.sim.table import changes, results

FILE = click.Path(path_type=Path)
EXISTING = click.Path(path_type=Path, exists=True, dir_okay=False)
POSITIVE = click.FloatRange(0, min_open=True)
COUNT = click.IntRange(1)


def names_listed(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    """What stands between the commas, once each."""
    return tuple(dict.fromkeys(part.strip() for part in value.split(",")))


def counts_listed(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...]:
    """Positive numbers between commas, once each; BadParameter for anything else."""
    if value is None:
        return ()
    parts = names_listed(ctx, param, value)
    if not all(part.isdecimal() and int(part) for part in parts):
        raise click.BadParameter(f"`{value}` is not a list of positive numbers", ctx, param)
    return tuple(map(int, parts))


@click.command()
@click.option("--workload", type=click.Choice(list(KINDS)), default="gsp", help="Generator.")
@click.option("--trace", metavar="FILE", type=EXISTING, help="A trace instead, .gz or not.")
@click.option("--trace-block-size", metavar="N", type=COUNT, default=512, help="Mooncake blocks.")
@click.option("--skip-bad", is_flag=True, help="Leave out bad rows of the trace and count them.")
@click.option(
    "--rate", type=POSITIVE, help="Sessions a second.  [default: all at once; tenants: 10]"
)
@click.option("--gaps", type=click.Choice(["poisson", "gamma", "weibull"]), default="poisson")
@click.option("--gaps-cv", metavar="N", type=POSITIVE, default=1.0, help="How bursty the gaps are.")
@click.option("--concurrency", metavar="N", type=COUNT, help="Closed loop: sessions at once.")
@click.option("--policy", "policies", metavar="A,B", default="fcfs,lpm", callback=names_listed)
@click.option("--no-proxy", is_flag=True, help="Compare with direct traffic, dealt out in turn.")
@click.option("--backends", metavar="N,M", default="1", callback=counts_listed, help="Engines.")
@click.option("--engine", "kind", type=click.Choice(["vllm", "sglang"]), default="vllm")
@click.option("--preset", metavar="NAME", default="llama-3.1-8b-h100", help="Model and GPU.")
@click.option("--calibration", metavar="FILE", type=EXISTING, help="From `paceline calibrate`.")
@click.option(
    "--kv-tokens", metavar="N,M", callback=counts_listed, help="KV pools.  [default: the preset's]"
)
@click.option("--block-size", metavar="N", type=COUNT, help="vLLM's block or SGLang's page.")
@click.option("--max-batched-tokens", metavar="N", type=COUNT, default=8192, help="A step's.")
@click.option("--max-seqs", metavar="N", type=COUNT, help="Requests an engine runs at once.")
@click.option("--engine-policy", metavar="NAME", default="fcfs", help="The engine's own order.")
@click.option(
    "--sglang", "release", type=click.Choice(list(RELEASES)), help="Its release.  [default: 0.5.23]"
)
@click.option("--seeds", metavar="N", type=COUNT, help="Runs a cell.  [default: 5; trace: 1]")
@click.option("--slo-ttft", metavar="S", type=POSITIVE, help="For goodput, in seconds.")
@click.option("--slo-tpot", metavar="S", type=POSITIVE, help="For goodput, in seconds.")
@click.option("--slo-e2e", metavar="S", type=POSITIVE, help="For goodput, in seconds.")
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--csv", "csv_path", metavar="FILE", type=FILE, help="Write a row a run.")
@click.option("--parquet", metavar="FILE", type=FILE, help="The same as Parquet.")
@click.option("--per-request", metavar="FILE", type=FILE, help="Write a CSV row a request.")
@click.option("--report", metavar="FILE", type=FILE, help="Write an HTML page that opens offline.")
@click.option("--perfetto", metavar="FILE", type=FILE, help="Write the first run's timeline.")
@click.option("--explain", "explained", metavar="REQUEST", help="Say why one waited (first run).")
@click.option("--jobs", metavar="N", type=COUNT, help="Processes.  [default: one a CPU]")
@click.option("--ray", metavar="ADDRESS", help="Run on a Ray cluster: host:port, auto or local.")
@generator_options
def sim(**given: Any) -> None:
    """Run the scheduler offline, against models of engines.

    Every policy meets the same arrivals, seed by seed, so that small differences show.

    \b
      paceline sim --policy fcfs,lpm --kv-tokens 65536 --no-proxy
      paceline sim --trace conversation_trace.jsonl.gz --backends 2,4 --policy lpm
    """
    calibration = _calibration(given["calibration"])
    jobs = _jobs(given, calibration)
    try:
        if given["parquet"] is not None:
            extra("parquet", "pyarrow")  # before the grid has run for an hour
        outcomes = _run(jobs, given["jobs"] or os.cpu_count() or 1, given["ray"])
    except (TraceError, PolicyError, SettingError, MissingExtra, ClusterError) as error:
        raise click.ClickException(str(error)) from None
    _write(outcomes, given, calibrated=calibration is not None)


def _calibration(path: Path | None) -> Calibration | None:
    try:
        return None if path is None else read_calibration(path)
    except CalibrationError as error:
        raise click.ClickException(str(error)) from None


def _jobs(given: dict[str, Any], calibration: Calibration | None) -> list[Job]:
    engine = _engine(given, calibration)
    base = RunConfig(
        engine=engine,
        concurrency=given["concurrency"],
        frontend=calibration.frontend if calibration else None,
        busy=calibration.busy if calibration else 1.0,
        keep_steps=given["perfetto"] is not None,
    )
    policies = ((NO_PROXY,) if given["no_proxy"] else ()) + given["policies"]
    configs = grid(
        base,
        policies=tuple(dict.fromkeys(policies)),
        backends=given["backends"],
        kv_tokens=given["kv_tokens"] or (engine.kv_tokens,),
        seeds=given["seeds"] or (1 if given["trace"] else 5),
    )
    slo = Slo(ttft_s=given["slo_ttft"], tpot_s=given["slo_tpot"], e2e_s=given["slo_e2e"])
    keep = any(given[name] for name in ("per_request", "report", "perfetto", "explained"))
    workload = _workload(given)
    return [Job(config=config, workload=workload, slo=slo, keep=keep) for config in configs]


def _engine(given: dict[str, Any], calibration: Calibration | None) -> EngineConfig:
    kind: ModelKind = given["kind"]
    name: str = given["preset"]
    if name not in PRESETS:
        raise click.ClickException(f"no preset `{name}`; {hint(name, list(PRESETS))}")
    if calibration is not None and calibration.engine != kind:
        raise click.ClickException(f"the calibration is for --engine {calibration.engine}")
    order: EnginePolicy = given["engine_policy"]
    known = ENGINE_POLICIES[kind]
    if order not in known:
        raise click.ClickException(f"{kind} has no policy `{order}`; {hint(order, list(known))}")
    if given["release"] and kind != "sglang":
        raise click.ClickException("--sglang needs --engine sglang")
    preset = PRESETS[name]
    return EngineConfig(
        kind=kind,
        time=calibration.time if calibration else getattr(preset, kind),
        kv_tokens=preset.kv_tokens,
        block_size=given["block_size"],
        chunk_tokens=given["max_batched_tokens"],
        max_running=given["max_seqs"],
        policy=order,
        release=given["release"] or EngineConfig().release,
    )


ENGINE_POLICIES: dict[ModelKind, tuple[EnginePolicy, ...]] = {
    "vllm": ("fcfs", "priority"),
    "sglang": ("fcfs", "lpm", "dfs-weight", "hrrn", "random"),
}
"""Orders of their waiting queues that engines know."""


def _workload(given: dict[str, Any]) -> WorkloadSpec:
    settings = {name: given[name] for name in names()}
    if given["trace"] is None:
        made = generator(given["workload"], settings)
        arrivals = Arrivals(rate=given["rate"], gap=given["gaps"], cv=given["gaps_cv"])
        return Synthetic(generator=made, arrivals=arrivals)
    if any(value is not None for value in settings.values()):
        raise click.UsageError("--trace takes no options of generators")
    return Trace(
        path=str(given["trace"]),
        block_tokens=given["trace_block_size"],
        skip_bad=given["skip_bad"],
    )


def _run(jobs: list[Job], processes: int, ray: str | None) -> list[Outcome]:
    """All outcomes in the order of the jobs, with a bar on stderr where that is a terminal."""
    outcomes: dict[int, Outcome] = {}
    made = run_all(jobs, processes) if ray is None else run_on_ray(jobs, ray)
    if sys.stderr.isatty():
        with click.progressbar(
            made, length=len(jobs), label="simulating", file=sys.stderr
        ) as shown:
            outcomes.update(shown)
    else:
        outcomes.update(made)
    return [outcomes[place] for place in range(len(jobs))]


def _write(outcomes: list[Outcome], given: dict[str, Any], *, calibrated: bool) -> None:
    for option, write in (
        ("csv_path", write_runs),
        ("parquet", write_parquet),
        ("per_request", write_requests),
        ("report", lambda path, made: write_report(path, made, calibrated=calibrated)),
        ("perfetto", lambda path, made: write_timeline(path, made[0])),
    ):
        if given[option] is not None:
            _saved(write, given[option], outcomes)
    if given["as_object"]:
        click.echo(as_json(outcomes, calibrated=calibrated))
    elif given["explained"] is not None:
        _explain(outcomes[0], given["explained"])
    else:
        _show(outcomes, calibrated=calibrated)


def _saved(
    write: Callable[[Path, list[Outcome]], None], path: Path, outcomes: list[Outcome]
) -> None:
    try:
        write(path, outcomes)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None


def _explain(outcome: Outcome, request: str) -> None:
    try:
        click.echo(explain(outcome, request))
    except UnknownRequest as error:
        raise click.ClickException(str(error)) from None


def _show(outcomes: list[Outcome], *, calibrated: bool) -> None:
    click.echo(results(outcomes))
    if compared := changes(outcomes):
        click.echo(f"\n{compared}")
    if skipped := max(outcome.skipped for outcome in outcomes):
        click.echo(f"\n{skipped} rows of the trace were left out")
    if not calibrated:
        click.echo(f"\n{RELATIVE}")
