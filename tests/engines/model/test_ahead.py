"""Steps that only decode can be passed over in one go, and nothing tells the difference."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.engines.model.build import build_engine
from paceline.engines.model.engine import Engine, EngineConfig, SequenceRequest, Step
from paceline.engines.model.presets import PRESETS
from tests.engines.model.dialogue import ask, config

TIME = PRESETS["llama-3.1-8b-h100"].vllm
VARIANTS = [
    config("vllm", kv_tokens=400, chunk_tokens=48, time=TIME),
    config("vllm", kv_tokens=256, chunk_tokens=5, block_size=4, time=TIME),
    config("vllm", kv_tokens=256, policy="priority", max_running=3, time=TIME),
    config("sglang", kv_tokens=256, chunk_tokens=48, time=TIME),
    config("sglang", kv_tokens=256, policy="lpm", block_size=4, time=TIME),
    config("sglang", kv_tokens=256, chunk_tokens=48, time=TIME, release="0.5.16"),
    config("sglang", kv_tokens=400, max_running=3, time=PRESETS["llama-3.1-8b-h100-triton"].sglang),
]


@st.composite
def requests(draw: st.DrawFn) -> list[SequenceRequest]:
    """Few families; answers of one prompt may be alike, and be part of another prompt."""
    made: list[SequenceRequest] = []
    for number in range(draw(st.integers(1, 7))):
        prompt = [draw(st.integers(1, 2))] * draw(st.integers(1, 70))
        length = draw(st.integers(1, 60))
        made.append(
            SequenceRequest(
                id=f"r{number}",
                prompt=prompt + ([9] * 20 if draw(st.booleans()) else []),
                output_tokens=length,
                max_tokens=draw(st.sampled_from([None, length, 90])),
                output=[9] * length if draw(st.booleans()) else (),
                n=draw(st.sampled_from([1, 1, 2])),
                priority=draw(st.integers(0, 2)),
            )
        )
    return made


def play(
    variant: EngineConfig, wanted: list[SequenceRequest], gaps: list[int], skips: list[int]
) -> tuple[list[Step], list[object]]:
    """The steps that were shown, and the loads: one request each so many steps, then to the end."""
    steps: list[Step] = []
    loads: list[object] = []
    engine, now = build_engine(variant), 0.0
    skip = iter(skips)
    for request, gap in zip(wanted, gaps, strict=True):
        engine.add(request, now)
        now = advance(engine, now, gap, skip, steps)
        loads.append(engine.load())
    advance(engine, now, 1 << 30, skip, steps)
    return steps, [*loads, engine.load()]


def advance(engine: Engine, now: float, most: int, skip: Iterator[int], steps: list[Step]) -> float:
    """Take `most` steps, those that may be skipped in strides that `skip` tells."""
    while most > 0 and (step := engine.step(now)) is not None:
        steps.append(step)
        most -= 1
        now += step.duration
        durations = engine.ahead()
        stride = min(len(durations), most, next(skip, 0))
        if stride:
            for seconds in durations[: stride - 1]:
                now += seconds
            steps.append(engine.skip(stride, now))
            most -= stride
            now += durations[stride - 1]
            assert steps[-1].duration == durations[stride - 1]
    return now


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda c: f"{c.kind}-{c.policy}-{c.release}")
@settings(max_examples=50)
@given(wanted=requests(), data=st.data())
def test_equal_to_step_by_step(
    variant: EngineConfig, wanted: list[SequenceRequest], data: st.DataObject
) -> None:
    """Whatever is skipped: the steps in between have the same times and tokens, loads are equal."""
    gaps = data.draw(st.lists(st.integers(0, 40), min_size=len(wanted), max_size=len(wanted)))
    skips = data.draw(st.lists(st.sampled_from([0, 1, 3, 100]), max_size=40))
    compare(variant, wanted, gaps, skips)


def compare(
    variant: EngineConfig, wanted: list[SequenceRequest], gaps: list[int], skips: list[int]
) -> None:
    """Nothing differs but which steps are shown."""
    some, loads = play(variant, wanted, gaps, skips)
    every, expected = play(variant, wanted, gaps, [])
    assert loads == expected
    by_start = {step.start: step for step in every}
    assert all(by_start[step.start] == step for step in some)
    assert some[-1] == every[-1]
    shown = {step.start for step in some}
    for step in every:
        if step.start not in shown:
            assert not step.prefill_tokens
            assert not any(output.finished or output.tokens == 1 for output in step.outputs)


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_long_answers_are_passed_over(kind: str) -> None:
    """A lone answer of 500 tokens takes a few calls."""
    engine, calls, now = build_engine(config(kind)), 0, 0.0
    engine.add(ask("a", range(40), 500), 0.0)
    while (step := engine.step(now)) is not None:
        calls += 1
        now += step.duration
        durations = engine.ahead()
        if durations:
            now += sum(durations[:-1])
            now += engine.skip(len(durations), now).duration
    assert engine.load().output_tokens == 500
    assert now == pytest.approx(500, abs=1)  # SGLang decodes once more before it knows the end
    assert calls < 8


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_not_beyond_an_end_nor_the_room(kind: str) -> None:
    """What is ahead ends where the first answer ends, and where the pool is full."""
    engine = build_engine(config(kind, kv_tokens=300))
    for name, length in (("a", 30), ("b", 250)):
        engine.add(ask(name, range(40), length), 0.0)
    now = 0.0
    while not (ahead := engine.ahead()):
        step = engine.step(now)
        assert step is not None
        now += step.duration
    assert 20 < len(ahead) < 30


def test_who_waits_for_tokens_being_made() -> None:
    """The queue's head fits as soon as a running answer has made what its prompt goes on with."""
    small = config("vllm", kv_tokens=120, block_size=4, time=TIME)
    maker = ask("maker", [1] * 8, 60, output=[9] * 60)
    waiting = ask("waiting", [1] * 8 + [9] * 111, 1)
    compare(small, [maker, waiting], [5, 3], [100] * 40)


def test_twins_keep_their_order() -> None:
    """Of two answers that become alike, the one further on makes each block first, and is found."""
    small = config("vllm", kv_tokens=208, block_size=4, time=TIME)
    requests = [
        ask("behind", [1] * 4, 57, output=[9] * 57),
        ask("ahead", [1] * 4 + [9] * 10, 20, output=[9] * 20),
        ask("between", [5] * 12, 2),
        ask("touch", [1] * 4 + [9] * 44, 1),
        ask("filler", [6] * 116, 1),
        ask("probe", [5] * 21, 1),
    ]
    compare(small, requests, [0, 25, 60, 4, 4, 4], [100] * 40)
