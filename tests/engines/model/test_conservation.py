"""Whatever comes and goes, every request ends once and the pool comes back."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.engines.model.build import build_engine
from paceline.engines.model.engine import EngineConfig, SequenceRequest
from tests.engines.model.dialogue import config, drain, outputs

VARIANTS = [
    config("vllm", kv_tokens=192, chunk_tokens=48),
    config("vllm", kv_tokens=192, policy="priority", max_running=3),
    config("sglang", kv_tokens=192, chunk_tokens=48),
    config("sglang", kv_tokens=192, policy="lpm", block_size=4),
    config("sglang", kv_tokens=192, chunk_tokens=30, release="0.5.16"),
    config("sglang", kv_tokens=192, policy="dfs-weight", chunk_tokens=30),
]

PROMPTS = st.builds(
    lambda family, shared, own: [family] * shared + own,
    st.integers(1, 3),
    st.integers(0, 60),
    st.lists(st.integers(4, 6), min_size=1, max_size=30),
)


@st.composite
def requests(draw: st.DrawFn) -> list[SequenceRequest]:
    """Up to 12 requests that fit one at a time."""
    count = draw(st.integers(1, 12))
    return [
        SequenceRequest(
            id=f"r{i:02}",
            prompt=draw(PROMPTS),
            output_tokens=draw(st.integers(1, 60)),
            max_tokens=draw(st.sampled_from([None, 60, 90])),
            n=draw(st.sampled_from([1, 1, 1, 2])),
            priority=draw(st.integers(0, 2)),
        )
        for i in range(count)
    ]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda c: f"{c.kind}-{c.policy}")
@settings(max_examples=30, deadline=None)
@given(data=st.data(), wanted=requests())
def test_every_request_ends_once(
    variant: EngineConfig, data: st.DataObject, wanted: list[SequenceRequest]
) -> None:
    """Each choice counts its tokens up by one, ends once unless aborted, and nothing is held."""
    engine = build_engine(variant)
    steps = []
    aborted = set()
    for now, request in enumerate(wanted):
        engine.add(request, now)
        for _ in range(data.draw(st.integers(0, 4), label="steps")):
            step = engine.step(float(now))
            steps += [step] if step else []
        victim = data.draw(st.sampled_from([None, None, request, wanted[0]]), label="abort")
        if victim is not None and engine.abort(victim.id):
            aborted.add(victim.id)
    steps += drain(engine, 99.0)

    kept = [o for o in outputs(steps) if o.request_id not in aborted]
    ends = Counter((o.request_id, o.index) for o in kept if o.finished)
    expected = [(r.id, i) for r in wanted if r.id not in aborted for i in range(r.n)]
    assert ends == Counter(expected)
    for key in expected:
        counted = [o.tokens for o in kept if (o.request_id, o.index) == key]
        assert counted == list(range(1, len(counted) + 1))
    load = engine.load()
    assert (load.running, load.waiting, load.kv_used) == (0, 0, 0)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda c: f"{c.kind}-{c.policy}")
@settings(max_examples=5, deadline=None)
@given(wanted=requests())
def test_equal_inputs_equal_steps(variant: EngineConfig, wanted: list[SequenceRequest]) -> None:
    """Two engines that get the same requests take the same steps."""
    runs = []
    for _ in range(2):
        engine = build_engine(variant)
        for request in wanted:
            engine.add(request, 0.0)
        runs.append(drain(engine))
    assert runs[0] == runs[1]
