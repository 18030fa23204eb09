"""Scaled step times against those fitted to measured kernels."""

from __future__ import annotations

import pytest
from msgspec import structs

from paceline.engines.model.presets import PRESETS
from paceline.engines.model.steptime import StepTime, Work
from paceline.plan.gpu import CARDS, Card
from paceline.plan.spec import ModelSpec
from paceline.plan.speed import step_time
from tests.plan.models import model

PAIRS = {
    "llama-3.1-8b-h100": "h100",
    "llama-3.1-8b-h200": "h200",
    "llama-3.1-8b-a100": "a100-80",
    "llama-3.1-8b-l40s": "l40s",
    "llama-3.1-8b-rtx-pro-6000": "rtx-pro-6000",
}


def prefill(time: StepTime) -> float:
    """Seconds for a prompt of 2,048 tokens."""
    work = Work()
    work.prefill(2048, 0)
    return time.seconds(work)


def decode(time: StepTime) -> float:
    """Seconds for a token of 32 answers."""
    work = Work()
    for _ in range(32):
        work.decode(1000)
    return time.seconds(work)


@pytest.mark.parametrize(("preset", "card"), PAIRS.items())
def test_other_cards(preset: str, card: str) -> None:
    """From an H100's figures to other cards': within a fifth, for prefill and decode."""
    scaled = step_time(model("Llama-3.1-8B"), CARDS[card])
    assert scaled is not None
    known = PRESETS[preset].vllm
    assert prefill(scaled) == pytest.approx(prefill(known), rel=0.2)
    assert decode(scaled) == pytest.approx(decode(known), rel=0.2)


def test_a_preset_instead() -> None:
    """A model that names a preset gets it as it is, of its engine's column."""
    spec = ModelSpec(model="Yi-6B", name="y", engine="sglang", preset="llama-3.1-8b-a100")
    found = step_time(model("Yi-6B", spec), CARDS["h100"])
    assert found == PRESETS["llama-3.1-8b-a100"].sglang


def test_unknown_speed() -> None:
    """Memory alone tells no speed."""
    assert step_time(model("Yi-6B"), Card(memory_gib=32)) is None
    assert step_time(model("Yi-6B"), structs.replace(CARDS["h100"], tflops=None)) is None
