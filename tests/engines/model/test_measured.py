"""The models against backlogs that real engines served on one H100.

Llama-3.1-8B shape, a pool of 65,536 tokens, 64 families x 6 requests of 2000 shared + 200 unique
tokens, 16 out, all sent at once; vLLM 0.26 and SGLang 0.5.16 with triton attention.
"""

from __future__ import annotations

from random import Random

import pytest

from paceline.engines.model.build import build_engine
from paceline.engines.model.engine import SequenceRequest
from paceline.engines.model.presets import PRESETS
from tests.engines.model.dialogue import config, drain

INGEST = 0.028 + 384 * 0.00103
"""Seconds from sending such a burst to the first step, measured."""


def backlog(shuffled: bool) -> list[SequenceRequest]:
    """The 384 requests, by family or shuffled."""
    families = [family for family in range(64) for _ in range(6)]
    if shuffled:
        Random(7).shuffle(families)
    return [
        SequenceRequest(
            id=str(i),
            prompt=[
                *range(f * 2000, f * 2000 + 2000),
                *range(10**6 + i * 200, 10**6 + i * 200 + 200),
            ],
            output_tokens=16,
            max_tokens=16,
        )
        for i, f in enumerate(families)
    ]


@pytest.mark.parametrize(
    ("kind", "policy", "shuffled", "seconds", "hit_rate"),
    [
        ("vllm", "fcfs", True, 15.3, 0.32),
        ("vllm", "fcfs", False, 6.3, 0.76),
        ("sglang", "fcfs", True, 20.0, 0.27),
        ("sglang", "fcfs", False, 18.3, 0.31),
        ("sglang", "lpm", True, 18.1, 0.37),
    ],
)
def test_backlog(kind: str, policy: str, shuffled: bool, seconds: float, hit_rate: float) -> None:
    """Makespan within 4% and hit rate within 0.01 of the real run."""
    preset = PRESETS["llama-3.1-8b-h100-triton"]
    time = preset.vllm if kind == "vllm" else preset.sglang
    options = {"policy": policy, "time": time, "kv_tokens": 65536, "release": "0.5.16"}
    engine = build_engine(config(kind, **options))
    for request in backlog(shuffled):
        engine.add(request, INGEST)
    last = drain(engine, INGEST)[-1]
    load = engine.load()
    assert last.start + last.duration == pytest.approx(seconds, rel=0.04)
    assert load.hit_tokens / load.query_tokens == pytest.approx(hit_rate, abs=0.01)
