"""The whole plan: three models on one 32 GB card, and what does not fit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.plan.errors import PlanError
from paceline.plan.overhead import CONTEXT
from paceline.plan.plan import Plan, make_plan
from paceline.plan.spec import GpuSpec, ModelSpec, PlanSpec, checked, read_spec
from tests.plan.models import DATA


@pytest.fixture(scope="module")
def three() -> Plan:
    return make_plan(read_spec(DATA / "three.toml"), DATA)


def plan(models: Sequence[ModelSpec], free: float = 0.1, memory_gib: float = 32) -> Plan:
    """The plan for a card of unknown speed, which needs no simulation."""
    gpu = GpuSpec(memory_gib=memory_gib, free=free)
    return make_plan(checked(PlanSpec(models=list(models), gpu=gpu)), DATA)


def test_three_models_fit(three: Plan) -> None:
    """A fifth of the memory stays free, and hardly more."""
    left = 1 - three.taken / three.card.visible
    assert 0.2 <= left < 0.205
    assert three.load < 1
    assert [f.rate for f in three.forecasts] == pytest.approx([0.521, 0.3125, 0.208], abs=0.001)


def test_every_pool_serves_its_load(three: Plan) -> None:
    """One request of full length fits into each pool, and so do all that are under way."""
    for engine, found in zip(three.engines, three.forecasts, strict=True):
        model = engine.demand.model
        assert engine.kv_tokens >= model.max_model_len
        assert engine.kv_tokens >= found.under_way * model.request_tokens
        assert engine.max_running >= found.under_way


def test_vllm_gets_the_pool_that_is_planned(three: Plan) -> None:
    """vLLM's own arithmetic: its fraction of the card without weights, activations and graphs."""
    for engine in three.engines[1:]:
        each = engine.demand
        pool = three.card.visible * engine.fraction - (each.fixed - CONTEXT)
        assert pool // each.model.kv_token_bytes // 16 * 16 == engine.kv_tokens


def test_sglang_gets_the_pool_that_is_planned(three: Plan) -> None:
    """SGLang's own arithmetic leaves at least what `--max-total-tokens` asks for."""
    engine = three.engines[0]
    free = three.card.visible - CONTEXT
    pool = (free - engine.demand.weights) - free * (1 - engine.fraction)
    assert pool >= engine.pool


def test_sglang_counts_what_is_free_when_it_starts() -> None:
    """Started second, its fraction is larger by what the first one took."""
    sglang = ModelSpec(model="TinyLlama-1.1B", engine="sglang")
    other = ModelSpec(model="Yi-6B")
    first = plan([sglang, other]).engines[0]
    second = plan([other, sglang]).engines[1]
    assert second.kv_tokens == first.kv_tokens
    assert second.fraction > first.fraction + 0.01


def test_what_is_short() -> None:
    """The error says how much is missing and every single change that would do."""
    models = [ModelSpec(model="Yi-6B"), ModelSpec(model="Llama-3.1-8B", max_model_len=65536)]
    with pytest.raises(PlanError) as caught:
        plan(models)
    message = str(caught.value)
    assert re.match(r"short by 9\.\d\d GiB: Yi-6B \d+\.\d\d GiB", message)
    assert "Yi-6B left out; Llama-3.1-8B left out; a card of" in message


def remedied(message: str, pattern: str) -> str:
    """What the error proposes."""
    found = re.search(pattern, message)
    assert found, message
    return found[1]


def test_what_would_fit_does() -> None:
    """A proposed context length, margin or card makes a plan; a little less of it does not."""
    big = ModelSpec(model="Llama-3.1-8B", max_model_len=131072)
    with pytest.raises(PlanError) as caught:
        plan([big], memory_gib=24)
    message = str(caught.value)
    length = int(remedied(message, r"max_model_len (\d+)"))
    card = int(remedied(message, r"a card of (\d+) GiB"))
    for changed, memory, fits in (
        (length, 24, True), (length + 16, 24, False),
        (131072, card, True), (131072, card - 1, False),
    ):  # fmt: skip
        spec = ModelSpec(model="Llama-3.1-8B", max_model_len=changed)
        if fits:
            assert plan([spec], memory_gib=memory).engines[0].kv_tokens >= changed
        else:
            with pytest.raises(PlanError, match="short by"):
                plan([spec], memory_gib=memory)


def test_less_margin_or_smaller_kv_would_fit() -> None:
    """Both are proposed only where they do."""
    with pytest.raises(PlanError) as caught:
        plan([ModelSpec(model="Llama-3.1-8B", max_model_len=65536)], free=0.3)
    message = str(caught.value)
    assert "KV in 8 bits" in message
    free = int(remedied(message, r"(\d+)% left free instead of 30%")) / 100
    assert plan([ModelSpec(model="Llama-3.1-8B", max_model_len=65536)], free=free).engines
    smaller = ModelSpec(model="Llama-3.1-8B", max_model_len=65536, kv_dtype="fp8")
    assert plan([smaller], free=0.3).engines[0].demand.model.kv_token_bytes == 65_536


@settings(deadline=None, max_examples=40)
@given(
    memory=st.floats(8, 200),
    free=st.floats(0, 0.5),
    chosen=st.lists(
        st.tuples(st.sampled_from(["TinyLlama-1.1B", "Qwen2.5-3B", "Yi-6B"]), st.booleans()),
        min_size=1,
        max_size=4,
    ),
)
def test_no_plan_takes_more(memory: float, free: float, chosen: list[tuple[str, bool]]) -> None:
    """Whatever is asked for: a plan keeps the margin and its pools, or there is none."""
    models = [
        ModelSpec(model=name, name=str(i), engine="sglang" if sglang else "vllm")
        for i, (name, sglang) in enumerate(chosen)
    ]
    try:
        made = plan(models, free, memory)
    except PlanError as error:
        larger = int(remedied(str(error), r"a card of (\d+) GiB"))
        assert plan(models, free, larger).engines
        return
    assert made.taken <= made.card.visible * (1 - free)
    assert all(e.kv_tokens >= e.demand.model.max_model_len for e in made.engines)
    assert all(0 < e.fraction < 1 for e in made.engines)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("models = []", "no models"),
        ("[[models]]\nmodle = 'x'", r"\$\.models\[0\]\.modle: unknown key; did you mean `model`"),
        ("[gpu]\nfree = 1.0\n[[models]]\nmodel = 'x'", r"from 0 to 0\.9, got 1\.0"),
        ("[[models]]\nmodel = 'x'\nshare = 0", "x.share: must be positive"),
        ("[[models]]\nmodel = 'x'\nshared_tokens = 2000", "from 0 to prompt_tokens"),
        ("[[models]]\nmodel = 'x'\n[[models]]\nmodel = 'a/x'", "two have the name x"),
        ("[gpu", "Expected"),
    ],
)
def test_a_bad_file(tmp_path: Path, text: str, reason: str) -> None:
    """File, key and reason in one line."""
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(PlanError, match=reason) as caught:
        read_spec(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (ModelSpec(model="Yi-6B", max_model_len=8192), "more than the 4096 positions"),
        (ModelSpec(model="Yi-6B", prompt_tokens=4000), "longer than the 4096"),
        (ModelSpec(model="Yi-6B", preset="h100"), "preset"),
    ],
)
def test_a_model_that_cannot_serve_this(spec: ModelSpec, reason: str) -> None:
    """Lengths that the model does not have are refused."""
    with pytest.raises(PlanError, match=reason):
        plan([spec])
