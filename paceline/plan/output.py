"""A plan as text for a terminal, and as one JSON object."""

from __future__ import annotations

from typing import Any

import msgspec

from paceline.plan.files import command, configuration
from paceline.plan.forecast import Forecast
from paceline.plan.gpu import GIB
from paceline.plan.overhead import CONTEXT
from paceline.plan.plan import Plan
from paceline.plan.settings import Settings, arguments
from paceline.sim.table import aligned

RELATIVE = (
    "relative only: step times are scaled from one measured pair of model and card, or a preset's"
)
"""What latencies and rates of a plan are worth."""
NO_SPEED = "no rates: the card's bandwidth and tflops are not known"
MEMORY = ("model", "engine", "weights GiB", "activations", "graphs", "context", "KV", "total")
SIZES = ("model", "KV bytes/token", "KV tokens", "requests at once", "context length", "fraction")
RATES = (
    "model", "peak req/s", "limit req/s", "limit tok/s", "TTFT mean s", "TTFT p99 s",
    "TPOT mean ms", "E2E mean s", "under way",
)  # fmt: skip


def as_text(plan: Plan) -> str:
    """Tables of memory, sizes and rates; then the commands and the configuration."""
    visible = plan.card.visible
    parts = [
        aligned([MEMORY, *(_memory(engine) for engine in plan.engines)]),
        f"{plan.taken / GIB:.2f} of {visible / GIB:.2f} GiB taken, "
        f"{1 - plan.taken / visible:.1%} left free",
        aligned([SIZES, *(_sizes(engine) for engine in plan.engines)]),
        *_rates(plan),
        "\n".join(plan.notes),
        "\n".join(command(engine) for engine in plan.engines),
        configuration(plan).rstrip(),
    ]
    return "\n\n".join(part for part in parts if part)


def _memory(engine: Settings) -> tuple[str, ...]:
    each = engine.demand
    sizes = (each.weights, each.activations, each.graphs, CONTEXT, engine.pool, engine.total)
    return each.model.spec.name, each.model.spec.engine, *(f"{size / GIB:.2f}" for size in sizes)


def _sizes(engine: Settings) -> tuple[str, ...]:
    model = engine.demand.model
    figures = (model.kv_token_bytes, engine.kv_tokens, engine.max_running, model.max_model_len)
    return model.spec.name, *(f"{figure:,}" for figure in figures), f"{engine.fraction:.3f}"


def _rates(plan: Plan) -> list[str]:
    if not plan.forecasts:
        return [NO_SPEED]
    names = [engine.demand.model.spec.name for engine in plan.engines]
    rows = [_rate(*pair) for pair in zip(names, plan.forecasts, strict=True)]
    warning = " (TOO MUCH: queues grow)" if plan.load >= 1 else ""
    return [
        aligned([RATES, *rows]),
        f"the peak needs {plan.load:.0%} of the GPU's time{warning}; {RELATIVE}",
    ]


def _rate(name: str, found: Forecast) -> tuple[str, ...]:
    return (
        name,
        f"{found.rate:.2f}",
        f"{found.capacity:.1f}",
        f"{found.output_tokens_per_s:,.0f}",
        f"{found.ttft_mean_s:.3f}",
        f"{found.ttft_p99_s:.3f}",
        f"{found.tpot_mean_s * 1e3:.1f}",
        f"{found.e2e_mean_s:.2f}",
        f"{found.under_way}",
    )


def as_json(plan: Plan) -> bytes:
    """One object: the card, every engine with its command, and what the plan is worth."""
    forecasts: list[Forecast | None] = [*plan.forecasts] or [None] * len(plan.engines)
    document = {
        "gpu": {
            "memory_gib": plan.card.memory_gib,
            "visible_bytes": plan.card.visible,
            "taken_bytes": plan.taken,
            "free": 1 - plan.taken / plan.card.visible,
            "load": plan.load if plan.forecasts else None,
        },
        "engines": [_engine(*pair) for pair in zip(plan.engines, forecasts, strict=True)],
        "config": configuration(plan),
        "notes": [*plan.notes, RELATIVE if plan.forecasts else NO_SPEED],
    }
    return msgspec.json.encode(document)


def _engine(engine: Settings, found: Forecast | None) -> dict[str, Any]:
    each = engine.demand
    return {
        "name": each.model.spec.name,
        "engine": each.model.spec.engine,
        "bytes": {
            "weights": each.weights,
            "activations": each.activations,
            "graphs": each.graphs,
            "context": CONTEXT,
            "kv": engine.pool,
            "total": engine.total,
        },
        "kv_bytes_per_token": each.model.kv_token_bytes,
        "kv_tokens": engine.kv_tokens,
        "max_model_len": each.model.max_model_len,
        "max_running": engine.max_running,
        "fraction": engine.fraction,
        "command": arguments(engine),
        "forecast": None if found is None else msgspec.to_builtins(found),
    }
