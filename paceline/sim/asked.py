"""What a command line of `paceline sim` asks for: engines, workload and the grid of runs."""

from __future__ import annotations

from typing import Any

import click

from paceline.engines.model.engine import EngineConfig, EnginePolicy, ModelKind
from paceline.engines.model.presets import PRESETS
from paceline.policies.decode import hint
from paceline.sim.arrivals import Gaps
from paceline.sim.calibration import Calibration
from paceline.sim.experiment import Job, grid
from paceline.sim.options import generator, names
from paceline.sim.run import NO_PROXY, RunConfig
from paceline.sim.spec import Arrivals, Synthetic, Trace, WorkloadSpec
from paceline.sim.summary import Slo
from paceline.sim.tenants import TENANTS_CV


def jobs_of(given: dict[str, Any], calibration: Calibration | None) -> list[Job]:
    """Every run of the grid, in the order it is told of; ClickException about what was asked."""
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
        return Synthetic(generator=made, arrivals=_arrivals(given))
    for name in (*settings, "rate", "gaps", "gaps_cv"):
        if given[name] is not None:
            raise click.UsageError(f"--trace takes no --{name.replace('_', '-')}")
    return Trace(
        path=str(given["trace"]),
        block_tokens=given["trace_block_size"],
        skip_bad=given["skip_bad"],
    )


def _arrivals(given: dict[str, Any]) -> Arrivals:
    rate, cv = given["rate"], given["gaps_cv"]
    gaps: Gaps | None = given["gaps"]
    bursts = given["workload"] == "tenants"
    if (gaps or cv) and rate is None and not bursts:
        raise click.UsageError("--gaps and --gaps-cv need --rate")
    gaps = gaps or ("gamma" if bursts else "poisson")
    if cv is not None and gaps == "poisson":
        raise click.UsageError("--gaps-cv needs --gaps gamma or weibull; Poisson's is always 1")
    return Arrivals(rate=rate, gap=gaps, cv=cv or (TENANTS_CV if bursts else 1.0))
