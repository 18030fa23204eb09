"""`paceline calibrate --backend` measures the real engines."""

from __future__ import annotations

import pytest

from paceline.engines.measure.run import measure_engine
from paceline.engines.model.presets import PRESETS
from paceline.sim.calibrate import calibrated
from tests.real.engines import CHUNK_TOKENS, Engine

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

SECONDS = 20.0


async def test_a_real_engine_is_measured(engine: Engine) -> None:
    """Lone prompts, cached ones, a decode, and a prompt beside it; half are fitted within 30%."""
    shown = 0

    def progress() -> None:
        nonlocal shown
        shown += 1

    measured = await measure_engine(engine.url, SECONDS, lambda points: progress)
    assert measured.engine.kind == engine.kind
    assert shown
    beside = "mixed" if engine.kind == "vllm" else "stall"
    kinds = {m.kind for m in measured.measurements}
    assert kinds >= {"lone", "decode", beside}
    cold = {m.prompt: m.seconds for m in measured.measurements if m.kind == "lone" and not m.cached}
    (warm,) = (m for m in measured.measurements if (m.prompt, m.cached) == (1536, 1024))
    assert cold[256] < warm.seconds < cold[2048]
    found = calibrated(
        engine.kind, measured.measurements, PRESETS["llama-3.1-8b-h100"], CHUNK_TOKENS
    )
    assert found.error < 0.3
