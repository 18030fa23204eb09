"""`paceline sim`: runs a grid of simulations and says what came of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import click

from paceline.engines.model.engine import EngineConfig
from paceline.engines.model.sglang_release import RELEASES
from paceline.policies.decode import SettingError
from paceline.policies.registry import PolicyError
from paceline.sim.asked import jobs_of
from paceline.sim.calibration import Calibration, CalibrationError, read_calibration
from paceline.sim.cluster import ClusterError, run_on_ray
from paceline.sim.experiment import Job, Outcome, run_all
from paceline.sim.explain import UnknownRequest, explain
from paceline.sim.extras import MissingExtra, extra
from paceline.sim.options import generator_options
from paceline.sim.output import RELATIVE, as_json, write_parquet, write_requests, write_runs
from paceline.sim.perfetto import write_timeline
from paceline.sim.report import write_report
from paceline.sim.rows import TraceError
from paceline.sim.sections import Sectioned
from paceline.sim.spec import KINDS
from paceline.sim.table import aligned, change_rows, headline, result_rows

FILE = click.Path(path_type=Path, dir_okay=False)
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


@click.command(cls=Sectioned)
@click.option(
    "--workload",
    metavar="KIND",
    type=click.Choice(list(KINDS)),
    default="gsp",
    help="gsp, chat, agents, forks or tenants; their options are below.",
)
@click.option(
    "--rate", metavar="R", type=POSITIVE, help="Sessions a second.  [all at once; tenants: 10]"
)
@click.option(
    "--gaps",
    metavar="KIND",
    type=click.Choice(["poisson", "gamma", "weibull"]),
    help="poisson, gamma or weibull.  [poisson; tenants: gamma]",
)
@click.option(
    "--gaps-cv", metavar="CV", type=POSITIVE, help="How bursty they are.  [1; tenants: 2.5]"
)
@click.option("--concurrency", metavar="N", type=COUNT, help="Closed loop: sessions at once.")
@click.option("--trace", metavar="FILE", type=EXISTING, help="Play a trace instead, .gz or not.")
@click.option(
    "--trace-block-size", metavar="N", type=COUNT, default=512, help="Tokens of Mooncake's blocks."
)
@click.option("--skip-bad", is_flag=True, help="Leave out bad rows of the trace and count them.")
@click.option(
    "--policy",
    "policies",
    metavar="A,B",
    default="fcfs,lpm",
    callback=names_listed,
    help="As `paceline policies` lists them, or module:Class.",
)
@click.option("--no-proxy", is_flag=True, help="Compare with direct traffic, dealt out in turn.")
@click.option("--backends", metavar="N,M", default="1", callback=counts_listed, help="Engines.")
@click.option(
    "--kv-tokens",
    metavar="N,M",
    callback=counts_listed,
    help="Tokens in an engine's KV pool.  [the preset's]",
)
@click.option("--seeds", metavar="N", type=COUNT, help="Runs of each.  [5; trace: 1]")
@click.option(
    "--engine",
    "kind",
    metavar="NAME",
    type=click.Choice(["vllm", "sglang"]),
    default="vllm",
    help="vllm or sglang.",
)
@click.option("--preset", metavar="NAME", default="llama-3.1-8b-h100", help="Model and GPU.")
@click.option(
    "--calibration", metavar="FILE", type=EXISTING, help="Step times by `paceline calibrate`."
)
@click.option("--block-size", metavar="N", type=COUNT, help="vLLM's block or SGLang's page.")
@click.option(
    "--max-batched-tokens", metavar="N", type=COUNT, default=8192, help="Tokens a step computes."
)
@click.option("--max-seqs", metavar="N", type=COUNT, help="Requests an engine runs at once.")
@click.option(
    "--engine-policy",
    metavar="NAME",
    default="fcfs",
    help="The engine's own order. vllm: fcfs, priority; "
    "sglang: fcfs, lpm, dfs-weight, hrrn, random.",
)
@click.option(
    "--sglang",
    "release",
    metavar="VERSION",
    type=click.Choice(list(RELEASES)),
    help=f"{' or '.join(RELEASES)}.  [{EngineConfig().release}]",
)
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--csv", "csv_path", metavar="FILE", type=FILE, help="Write a row a run.")
@click.option("--parquet", metavar="FILE", type=FILE, help="The same as Parquet.")
@click.option("--per-request", metavar="FILE", type=FILE, help="Write a CSV row a request.")
@click.option("--report", metavar="FILE", type=FILE, help="Write an HTML page that opens offline.")
@click.option(
    "--perfetto", metavar="FILE", type=FILE, help="Write the first run for ui.perfetto.dev."
)
@click.option(
    "--explain",
    "explained",
    metavar="REQUEST",
    help="Say why it waited, in the first run; ids are those of --per-request.",
)
@click.option("--slo-ttft", metavar="S", type=POSITIVE, help="For goodput, in seconds.")
@click.option("--slo-tpot", metavar="S", type=POSITIVE, help="For goodput, in seconds.")
@click.option("--slo-e2e", metavar="S", type=POSITIVE, help="For goodput, in seconds.")
@click.option("--jobs", metavar="N", type=COUNT, help="Processes.  [one a CPU]")
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
    jobs = jobs_of(given, calibration)
    try:
        _check_files(given)
        outcomes = _run(jobs, given["jobs"] or os.cpu_count() or 1, given["ray"])
    except (TraceError, PolicyError, SettingError, MissingExtra, ClusterError) as error:
        raise click.ClickException(str(error)) from None
    except BrokenProcessPool:
        raise click.ClickException(
            "a process was killed, perhaps for its memory: fewer --jobs take less"
        ) from None
    _write(outcomes, given, calibrated=calibration is not None)


def _check_files(given: dict[str, Any]) -> None:
    """Say what cannot be written before the grid has run for an hour."""
    if given["parquet"] is not None:
        extra("parquet", "pyarrow")
    for option in ("csv_path", "parquet", "per_request", "report", "perfetto"):
        path: Path | None = given[option]
        if path is not None and not path.parent.is_dir():
            raise click.ClickException(f"{path}: No such file or directory")


def _calibration(path: Path | None) -> Calibration | None:
    try:
        return None if path is None else read_calibration(path)
    except CalibrationError as error:
        raise click.ClickException(str(error)) from None


def _run(jobs: list[Job], processes: int, ray: str | None) -> list[Outcome]:
    """All outcomes in the order of the jobs, with a bar on stderr where that is a terminal."""
    outcomes: dict[int, Outcome] = {}
    made = run_all(jobs, processes) if ray is None else run_on_ray(jobs, ray)
    if sys.stderr.isatty():
        with click.progressbar(
            made, length=len(jobs), label="simulating", show_pos=True, file=sys.stderr
        ) as shown:
            outcomes.update(shown)
    else:
        outcomes.update(made)
    return [outcomes[place] for place in range(len(jobs))]


def _write(outcomes: list[Outcome], given: dict[str, Any], *, calibrated: bool) -> None:
    about = headline(
        outcomes,
        workload=given["workload"] if given["trace"] is None else given["trace"].name,
        timing=given["calibration"].name if calibrated else given["preset"],
    )
    for option, write in (
        ("csv_path", write_runs),
        ("parquet", write_parquet),
        ("per_request", write_requests),
        ("report", lambda path, made: write_report(path, made, about, calibrated=calibrated)),
        ("perfetto", lambda path, made: write_timeline(path, made[0])),
    ):
        if given[option] is not None:
            _saved(write, given[option], outcomes)
    if given["as_object"]:
        click.echo(as_json(outcomes, calibrated=calibrated))
    elif given["explained"] is not None:
        _explain(outcomes[0], given["explained"])
    else:
        _show(outcomes, about, calibrated=calibrated)


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


def _show(outcomes: list[Outcome], about: str, *, calibrated: bool) -> None:
    click.echo(f"{about}\n{aligned(result_rows(outcomes))}")
    if compared := change_rows(outcomes):
        click.echo(f"\n{aligned(compared)}")
    for reason, why in REFUSED.items():
        if refused := sum(getattr(outcome.summary.refusals, reason) for outcome in outcomes):
            click.echo(f"\n{refused} requests were refused: {why}")
    if skipped := max(outcome.skipped for outcome in outcomes):
        click.echo(f"\n{skipped} rows of the trace were left out")
    if not calibrated:
        click.echo(f"\n{RELATIVE}")


REFUSED = {
    "queue_full": "the proxy's queue was full",
    "deadline": "they had waited in the proxy as long as they may",
    "too_long": "longer than the engine's KV pool",
}
"""Why requests were not served, of all runs together."""
