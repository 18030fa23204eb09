"""From an engine's share of the memory to the flags that it is started with."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from msgspec import Struct

from paceline.plan.fit import STEPS, Demand, whole
from paceline.plan.gpu import Card
from paceline.plan.overhead import CONTEXT, WORKSPACE


class Settings(Struct, frozen=True, kw_only=True):
    """One engine as it will be started."""

    demand: Demand
    fraction: float
    """vLLM's `--gpu-memory-utilization`, of the card's memory and with all but the context in it;
    SGLang's `--mem-fraction-static`, of what is free when it starts, weights and KV only."""
    kv_tokens: int
    """Size of the pool."""
    max_running: int

    @property
    def pool(self) -> int:
        """Bytes of the pool."""
        return self.kv_tokens * self.demand.model.kv_token_bytes

    @property
    def total(self) -> int:
        """Bytes of the GPU that it takes in all."""
        return self.demand.fixed + self.pool


def settle(demands: Sequence[Demand], budgets: Sequence[int], card: Card) -> list[Settings]:
    """Settings in the order in which the engines must be started: SGLang reads what is free."""
    found: list[Settings] = []
    taken = 0
    for each, budget in zip(demands, budgets, strict=True):
        settings = _vllm if each.model.spec.engine == "vllm" else _sglang
        found.append(settings(each, budget, card, taken))
        taken += found[-1].total
    return found


def _vllm(each: Demand, budget: int, card: Card, _taken: int) -> Settings:
    """Its fraction is of the whole card; rounded down, and the pool with it."""
    fraction = (budget - CONTEXT) * STEPS // card.visible / STEPS
    inside = int(fraction * card.visible) - (each.fixed - CONTEXT)
    return _settings(each, fraction, inside // each.model.kv_token_bytes)


def _sglang(each: Demand, budget: int, card: Card, taken: int) -> Settings:
    """Its fraction may be generous: `--max-total-tokens` holds the pool to what is planned."""
    tokens = whole((budget - each.fixed) // each.model.kv_token_bytes)
    static = each.weights + tokens * each.model.kv_token_bytes + WORKSPACE
    free = card.visible - taken - CONTEXT
    return _settings(each, ceil(static / free * STEPS) / STEPS, tokens)


def _settings(each: Demand, fraction: float, tokens: int) -> Settings:
    """No more requests at once than the pool holds of mean length."""
    held = max(1, tokens // each.model.request_tokens)
    return Settings(
        demand=each,
        fraction=fraction,
        kv_tokens=whole(tokens),
        max_running=each.model.spec.max_running or min(each.max_running, held),
    )


def arguments(settings: Settings) -> list[str]:
    """The command that starts it; flags as of vLLM 0.32 and SGLang 0.5.23."""
    model, spec = settings.demand.model, settings.demand.model.spec
    loads = {
        "vllm": ["vllm", "serve", model.path],
        "sglang": ["python", "-m", "sglang.launch_server", "--model-path", model.path],
    }
    named = ["--served-model-name", spec.name, "--port", str(spec.port)]
    return [*loads[spec.engine], *named, *_words(flags(settings)), *_words(ORDERED[spec.engine])]


def flags(settings: Settings) -> dict[str, str]:
    """The flags that were planned, with their values."""
    sizes = _vllm_sizes if settings.demand.model.spec.engine == "vllm" else _sglang_sizes
    found = sizes(settings)
    if settings.demand.model.spec.kv_dtype != "auto":
        found["kv-cache-dtype"] = "fp8_e4m3"
    return found


ORDERED = {
    "vllm": {"enable-prompt-tokens-details": ""},
    "sglang": {"schedule-policy": "fcfs", "enable-cache-report": ""},
}
"""What lets an engine keep the order it is given and tell what it had cached."""


def _vllm_sizes(settings: Settings) -> dict[str, str]:
    return {
        "gpu-memory-utilization": f"{settings.fraction:.3f}",
        "max-model-len": str(settings.demand.model.max_model_len),
        "max-num-seqs": str(settings.max_running),
        "max-num-batched-tokens": str(settings.demand.chunk),
    }


def _sglang_sizes(settings: Settings) -> dict[str, str]:
    return {
        "mem-fraction-static": f"{settings.fraction:.3f}",
        "context-length": str(settings.demand.model.max_model_len),
        "max-total-tokens": str(settings.kv_tokens),
        "max-running-requests": str(settings.max_running),
        "chunked-prefill-size": str(settings.demand.chunk),
    }


def _words(options: dict[str, str]) -> list[str]:
    return [word for name, value in options.items() for word in (f"--{name}", value) if word]
