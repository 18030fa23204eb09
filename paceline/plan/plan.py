"""Makes the plan: reads the models, forecasts the load, divides the memory, settles the flags."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct, structs

from paceline.engines.model.engine import EngineConfig
from paceline.engines.model.steptime import StepTime
from paceline.plan.fit import Demand, budgets, demand, short
from paceline.plan.forecast import Forecast, forecast, peak_rates
from paceline.plan.gpu import Card, card
from paceline.plan.model import Model, load_model
from paceline.plan.remedies import does_not_fit
from paceline.plan.settings import Settings, settle
from paceline.plan.spec import PlanSpec
from paceline.plan.speed import step_time

UNDER_WAY = 16
"""Requests at once to have room for where the card's speed is not known."""


class Plan(Struct, frozen=True, kw_only=True):
    """What came of a spec: engines in the order in which they must be started."""

    spec: PlanSpec
    card: Card
    engines: list[Settings]
    forecasts: list[Forecast]
    """One an engine; none where the card's speed is not known."""

    @property
    def taken(self) -> int:
        """Bytes that all engines take together."""
        return sum(engine.total for engine in self.engines)

    @property
    def load(self) -> float:
        """Part of the GPU's time that the peak needs; from 1 on, queues grow."""
        return sum(each.load for each in self.forecasts)

    @property
    def notes(self) -> list[str]:
        """What is an assumption, by model."""
        return [
            f"{each.demand.model.spec.name}: {note}"
            for each in self.engines
            for note in each.demand.model.notes
        ]


def make_plan(spec: PlanSpec, base: Path) -> Plan:
    """The plan for a checked `spec`, paths relative to `base`; PlanError when it cannot be."""
    gpu = spec.gpu
    chosen = card(gpu.name, gpu.memory_gib, gpu.bandwidth_gb_s, gpu.tflops)
    models = [load_model(model, base) for model in spec.models]
    times = [step_time(model, chosen) for model in models]
    rates = peak_rates(models, spec.load.requests_per_day, spec.load.peak)
    demands = _demands(models, times, rates, chosen)
    if short(demands, chosen, gpu.free) > 0:
        raise does_not_fit(demands, chosen, gpu.free)
    engines = settle(demands, budgets(demands, chosen, gpu.free), chosen)
    configs = [_config(each, time) for each, time in zip(engines, times, strict=True)]
    return Plan(
        spec=spec,
        card=chosen,
        engines=engines,
        forecasts=_forecasts(models, configs, rates),
    )


def _demands(
    models: Sequence[Model],
    times: Sequence[StepTime | None],
    rates: Sequence[float],
    chosen: Card,
) -> list[Demand]:
    """With room for the requests under way that a simulation with ample pools has."""
    ample = [demand(model, chosen, UNDER_WAY) for model in models]
    configs = [
        None if time is None else _engine(each, time, 4 * each.pool_tokens, each.max_running)
        for each, time in zip(ample, times, strict=True)
    ]
    found = _forecasts(models, configs, rates)
    if not found:
        return ample
    return [demand(m, chosen, f.under_way) for m, f in zip(models, found, strict=True)]


def _forecasts(
    models: Sequence[Model], configs: Sequence[EngineConfig | None], rates: Sequence[float]
) -> list[Forecast]:
    """None at all unless every engine's speed is known: they slow each other down."""
    known = [config for config in configs if config is not None]
    return forecast(models, known, rates) if len(known) == len(models) else []


def _config(settings: Settings, time: StepTime | None) -> EngineConfig | None:
    if time is None:
        return None
    return _engine(settings.demand, time, settings.kv_tokens, settings.max_running)


def _engine(each: Demand, time: StepTime, kv_tokens: int, max_running: int) -> EngineConfig:
    config = EngineConfig(kind=each.model.spec.engine, time=time, chunk_tokens=each.chunk)
    return structs.replace(config, kv_tokens=kv_tokens, max_running=max_running)
