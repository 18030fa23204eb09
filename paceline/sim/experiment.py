"""A grid of runs over processes: every policy meets the very same arrivals, seed by seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product
from signal import SIG_DFL, SIGINT, signal

from msgspec import Struct, structs

from paceline.engines.model.engine import Step
from paceline.sim.record import Row, Sample
from paceline.sim.run import RunConfig, simulate
from paceline.sim.spec import WorkloadSpec
from paceline.sim.summary import Slo, Summary, summarise


class Job(Struct, frozen=True, kw_only=True):
    """One run of the grid."""

    config: RunConfig
    workload: WorkloadSpec
    slo: Slo = Slo()
    keep: bool = False
    """Whether rows and samples are wanted, or the summary alone."""


class Outcome(Struct, kw_only=True):
    """What came of one run."""

    config: RunConfig
    summary: Summary
    slo: Slo = Slo()
    skipped: int = 0
    """Bad rows of the trace."""
    rows: list[Row] = []
    samples: list[Sample] = []
    steps: dict[str, list[Step]] = {}


def grid(
    base: RunConfig,
    *,
    policies: Sequence[str],
    backends: Sequence[int],
    kv_tokens: Sequence[int],
    seeds: int,
) -> list[RunConfig]:
    """Every combination, in the order of the arguments; seeds vary fastest."""
    return [
        structs.replace(
            base,
            policy=policy,
            backends=count,
            engine=structs.replace(base.engine, kv_tokens=kv),
            seed=seed,
        )
        for policy, count, kv, seed in product(policies, backends, kv_tokens, range(seeds))
    ]


def run(job: Job) -> Outcome:
    """One run; TraceError, PolicyError, SettingError about what it was asked to do."""
    workload, reader = job.workload.open(job.config.seed)
    result = simulate(job.config, workload, sampled=job.keep)
    outcome = Outcome(
        config=job.config,
        summary=summarise(result.rows, job.slo),
        slo=job.slo,
        skipped=reader.skipped if reader is not None else 0,
        steps=result.steps,
    )
    if job.keep:
        outcome.rows, outcome.samples = result.rows, result.samples
    return outcome


def run_all(jobs: Sequence[Job], processes: int) -> Iterator[tuple[int, Outcome]]:
    """Every job's outcome with its place, as they are done; the first error ends it.

    BrokenProcessPool when a process was killed.
    """
    if processes < 2 or len(jobs) < 2:
        for place, job in enumerate(jobs):
            yield place, run(job)
        return
    with ProcessPoolExecutor(min(processes, len(jobs)), initializer=_die_of_ctrl_c) as pool:
        places = {pool.submit(run, job): place for place, job in enumerate(jobs)}
        try:
            for future in as_completed(places):
                yield places[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _die_of_ctrl_c() -> None:
    """Python's own handler would end the run under way and let the process begin the next one."""
    signal(SIGINT, SIG_DFL)
