"""How fast a model is on a card: a preset of the simulator, or one scaled to it.

Every term of the step-time formula has one resource that bounds it, so that one measured pair of
model and card gives others: weights and KV are streamed (bandwidth), tokens and attention computed
(arithmetic), launches and Python go by layers. docs/planning.md compares that with measured pairs.
"""

from __future__ import annotations

from msgspec import structs

from paceline.engines.model.presets import PRESETS
from paceline.engines.model.steptime import StepTime
from paceline.plan.gpu import CARDS, Card
from paceline.plan.model import Model
from paceline.plan.parameters import parameters

REFERENCE = "llama-3.1-8b-h100"
"""The preset that real runs were measured for."""
_WEIGHTS = 16_060_522_496
_PARAMETERS = 8_030_261_248
_KV = 131_072
_LAYERS = 32
_QUERIES = 32 * 32 * 128
"""Layers, heads and width of a head multiplied: what attention's arithmetic goes by."""


def step_time(model: Model, card: Card) -> StepTime | None:
    """Its step times on this card; None when neither a preset nor the card's speed is known."""
    if model.spec.preset:
        preset: StepTime = getattr(PRESETS[model.spec.preset], model.spec.engine)
        return preset
    if card.bandwidth_gb_s is None or card.tflops is None:
        return None
    return scaled(model, card.bandwidth_gb_s, card.tflops)


def scaled(model: Model, bandwidth_gb_s: float, tflops: float) -> StepTime:
    """The reference's step times for this model at this bandwidth and arithmetic."""
    base: StepTime = getattr(PRESETS[REFERENCE], model.spec.engine)
    known = CARDS["h100"]
    assert known.bandwidth_gb_s is not None
    assert known.tflops is not None
    streaming = known.bandwidth_gb_s / bandwidth_gb_s
    computing = known.tflops / tflops
    shape = model.architecture
    queries = shape.num_hidden_layers * shape.num_attention_heads * shape.head
    return structs.replace(
        base,
        tw=base.tw * streaming * model.weight_bytes / _WEIGHTS,
        k=base.k * computing * parameters(shape, active=True) / _PARAMETERS,
        a=base.a * computing * queries / _QUERIES,
        g=base.g * streaming * model.kv_token_bytes / _KV,
        c0=base.c0 * shape.num_hidden_layers / _LAYERS,
    )
