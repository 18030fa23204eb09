"""What the simulator says of a model under its load: latency, throughput, how busy the GPU is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from math import ceil, sqrt

from msgspec import Struct, structs

from paceline.engines.model.engine import EngineConfig
from paceline.engines.model.steptime import StepTime
from paceline.plan.model import Model
from paceline.sim.arrivals import Gaps
from paceline.sim.generators import Gsp
from paceline.sim.run import NO_PROXY, RunConfig, simulate
from paceline.sim.spec import Arrivals, Synthetic
from paceline.sim.summary import Slo, Summary, summarise

REQUESTS = 60
"""Of each run: enough for a mean, and a second of CPU time for all models of a plan."""
GAPS: Gaps = "poisson"
SECONDS_A_DAY = 86_400
DEVIATIONS = 4.0
"""Standard deviations of a Poisson number of requests under way that there is room for."""


class Forecast(Struct, frozen=True, kw_only=True):
    """One engine at the peak of its load, and at its limit."""

    rate: float
    """Requests a second at the peak."""
    capacity: float
    """Requests a second that the engine could serve were the GPU its own, and all came at once."""
    busy: float
    """Part of the time that it computes at the peak; a batch of one counts like a full one."""
    ttft_mean_s: float
    ttft_p99_s: float
    tpot_mean_s: float
    e2e_mean_s: float
    output_tokens_per_s: float
    """At the limit."""

    @property
    def load(self) -> float:
        """Part of the GPU that the peak needs when requests are batched as far as they can be."""
        return self.rate / self.capacity

    @property
    def under_way(self) -> int:
        """Requests at once to have room for: the mean by Little's law and its deviations."""
        mean = self.rate * self.e2e_mean_s
        return max(1, ceil(mean + DEVIATIONS * sqrt(mean)))


def peak_rates(models: Sequence[Model], per_day: float, peak: float) -> list[float]:
    """Requests a second of each model in the busiest hour."""
    total = sum(model.spec.share for model in models)
    return [per_day / SECONDS_A_DAY * peak * model.spec.share / total for model in models]


def forecast(
    models: Sequence[Model],
    engines: Sequence[EngineConfig],
    rates: Sequence[float],
) -> list[Forecast]:
    """Every engine beside the others: its steps take longer by the time that they compute.

    First each runs alone; then with its steps stretched by 1 + what the others take: a GPU shares
    its time among processes that have work, and an engine, which batches, is never more than one.
    """
    alone = [_at(*pair) for pair in zip(models, engines, rates, strict=True)]
    busy = [share for _, share in alone]
    found = []
    for index, (model, engine, rate) in enumerate(zip(models, engines, rates, strict=True)):
        others = sum(busy) - busy[index]
        shared = _stretched(engine, 1 + others)
        summary = _at(model, shared, rate)[0] if others else alone[index][0]
        limit = _at(model, engine, None)[0]
        found.append(_forecast(rate, busy[index], summary, limit))
    return found


def _forecast(rate: float, busy: float, at_peak: Summary, limit: Summary) -> Forecast:
    return Forecast(
        rate=rate,
        capacity=limit.completed / limit.makespan_s,
        busy=busy,
        ttft_mean_s=at_peak.ttft_s.mean,
        ttft_p99_s=at_peak.ttft_s.p99,
        tpot_mean_s=at_peak.tpot_s.mean,
        e2e_mean_s=at_peak.e2e_s.mean,
        output_tokens_per_s=limit.output_tokens_per_s,
    )


def _stretched(engine: EngineConfig, factor: float) -> EngineConfig:
    time: StepTime = structs.replace(engine.time, s=engine.time.s * factor)
    return structs.replace(engine, time=time)


def _at(model: Model, engine: EngineConfig, rate: float | None) -> tuple[Summary, float]:
    """A run at this rate, or with all at once, and the part of its time that steps take."""
    spec = model.spec
    generator = Gsp(
        groups=1,
        members=REQUESTS,
        shared=spec.shared_tokens,
        unique=spec.prompt_tokens - spec.shared_tokens,
        output=spec.output_tokens,
    )
    workload = Synthetic(generator=generator, arrivals=Arrivals(rate=rate, gap=GAPS))
    config = RunConfig(policy=NO_PROXY, engine=engine, keep_steps=True)
    result = simulate(config, workload.open(0)[0], sampled=False)
    summary = summarise(result.rows, Slo())
    steps = sum(step.duration for step in chain.from_iterable(result.steps.values()))
    return summary, min(1.0, steps / summary.makespan_s)
