"""vLLM's rules, as dialogues."""

import pytest

from paceline.engines.model.engine import EngineLoad
from paceline.engines.model.vllm import VllmEngine
from tests.engines.model.dialogue import (
    add,
    ask,
    cached,
    config,
    drain,
    finished,
    outputs,
    prefills,
)


def engine(**fields: object) -> VllmEngine:
    """An idle vLLM."""
    return VllmEngine(config("vllm", **fields))


def figures(load: EngineLoad) -> tuple[int, int, int]:
    """Running, waiting and tokens in use."""
    return load.running, load.waiting, load.kv_used


def test_a_repeated_prompt_is_cached_but_for_its_last_block() -> None:
    """The second identical prompt hits len - 1 rounded down to whole blocks."""
    vllm = engine()
    add(vllm, ask("a", range(64)))
    drain(vllm)
    add(vllm, ask("b", range(64)), ask("c", range(70)))
    assert cached(drain(vllm)) == {"b": 48, "c": 64}


def test_siblings_in_one_step_hit() -> None:
    """A block is shared from the step that schedules it."""
    vllm = engine()
    add(vllm, ask("a", range(64)), ask("b", [*range(48), 900, 901]))
    steps = drain(vllm)
    assert cached(steps) == {"a": 0, "b": 48}
    assert prefills(steps)[0] == 64 + 2


def test_an_answer_is_a_prefix_too() -> None:
    """The next turn finds the blocks that its own last answer filled."""
    vllm = engine()
    add(vllm, ask("a", range(32), 17, output=range(100, 117)))
    drain(vllm)
    add(vllm, ask("b", [*range(32), *range(100, 117), 7]))
    assert cached(drain(vllm)) == {"b": 48}


def test_decodes_and_prefills_share_a_step() -> None:
    """A newcomer's prefill runs in the same step as the others' decodes."""
    vllm = engine()
    add(vllm, ask("a", range(16), 5))
    vllm.step(0.0)
    add(vllm, ask("b", range(500, 540), 1))
    step = [vllm.step(1.0), vllm.step(2.0)][1]
    assert step is not None
    assert (step.prefill_tokens, step.decodes) == (40, 1)


def test_a_long_prompt_is_cut_into_chunks() -> None:
    """Every step takes the budget's worth, and only the last chunk gives a token."""
    vllm = engine(chunk_tokens=100)
    add(vllm, ask("a", range(250), 2))
    steps = drain(vllm)
    assert prefills(steps)[:3] == [100, 100, 50]
    assert [len(step.outputs) for step in steps[:4]] == [0, 0, 1, 1]


def test_the_head_of_the_queue_blocks() -> None:
    """A small request behind one that does not fit waits, though it would fit."""
    vllm = engine(kv_tokens=160)
    add(vllm, ask("a", range(100), 3), ask("b", range(500, 600)), ask("c", range(900, 910)))
    step = vllm.step(0.0)
    assert step is not None
    assert (step.prefill_tokens, figures(vllm.load())) == (100, (1, 2, 112))
    assert finished(drain(vllm, 1.0)) == ["a", "b", "c"]


def test_max_running_holds() -> None:
    """No more than `max_running` are admitted."""
    vllm = engine(max_running=2)
    add(vllm, *(ask(str(i), range(i * 100, i * 100 + 10), 3) for i in range(4)))
    vllm.step(0.0)
    assert figures(vllm.load())[:2] == (2, 2)
    assert len(finished(drain(vllm, 1.0))) == 4


def test_a_token_comes_with_every_step() -> None:
    """A lone request gets its first token from its prefill and one from every step after it."""
    vllm = engine()
    add(vllm, ask("a", range(10), 4))
    steps = drain(vllm)
    assert [(o.tokens, o.finished) for o in outputs(steps)] == [
        (1, False),
        (2, False),
        (3, False),
        (4, True),
    ]
    assert len(steps) == 4


def test_an_unforeseen_end_wastes_a_slot() -> None:
    """Two steps are in flight: when a sequence ends by itself, the next step still decodes it."""
    vllm = engine()
    add(vllm, ask("a", range(10), 2, max_tokens=50))
    steps = drain(vllm)
    assert [len(step.outputs) for step in steps] == [1, 1, 0]
    assert figures(vllm.load()) == (0, 0, 0)


def test_a_newcomer_misses_the_step_already_composed() -> None:
    """What arrives during step n runs in step n+2."""
    vllm = engine()
    add(vllm, ask("a", range(10), 9))
    vllm.step(0.0)
    add(vllm, ask("b", range(500, 510)))
    second, third = vllm.step(1.0), vllm.step(2.0)
    assert second is not None
    assert third is not None
    assert [second.prefill_tokens, third.prefill_tokens] == [0, 10]


def test_the_newest_is_preempted_and_comes_back() -> None:
    """Without a block for a decode, the newest gives way; it resumes from its cached blocks."""
    vllm = engine(kv_tokens=96)
    add(vllm, ask("old", range(32), 40), ask("new", range(500, 532), 40))
    steps = drain(vllm)
    assert finished(steps) == ["old", "new"]
    assert vllm.load().preemptions == 1
    assert [o.tokens for o in outputs(steps) if o.request_id == "new"] == list(range(1, 41))
    assert figures(vllm.load()) == (0, 0, 0)


def test_priority_lowest_first() -> None:
    """Under the priority policy the lowest number is admitted first, then the earliest."""
    vllm = engine(policy="priority", max_running=1)
    add(vllm, *(ask(f"p{p}", range(p * 50, p * 50 + 5), priority=p) for p in (5, 1, 3)))
    assert finished(drain(vllm)) == ["p1", "p3", "p5"]


def test_priority_preempts_the_worst() -> None:
    """Under the priority policy the worst gives way, although it came first."""
    vllm = engine(policy="priority", kv_tokens=96)
    add(vllm, ask("bad", range(32), 40, priority=9))
    vllm.step(0.0)
    add(vllm, ask("good", range(500, 532), 40, priority=1))
    assert finished(drain(vllm, 1.0)) == ["good", "bad"]


def test_choices_share_the_prompt() -> None:
    """n choices are n sequences; all but the first find the prompt's blocks in the same step."""
    vllm = engine()
    add(vllm, ask("a", range(40), 2, n=3))
    steps = drain(vllm)
    assert prefills(steps)[0] == 40 + 8 + 8
    assert sorted(o.index for o in outputs(steps) if o.finished) == [0, 1, 2]


def test_abort_frees_at_once() -> None:
    """An aborted request holds nothing, waits nowhere and can't be aborted again."""
    vllm = engine(kv_tokens=160)
    add(vllm, ask("a", range(100), 30), ask("b", range(500, 600), 30))
    vllm.step(0.0)
    assert vllm.abort("a")
    assert vllm.abort("b")
    assert not vllm.abort("a")
    assert figures(vllm.load()) == (0, 0, 0)
    assert finished(drain(vllm, 1.0)) == []


def test_flush_forgets_unless_busy() -> None:
    """After a flush nothing is cached; while a request is here it is refused."""
    vllm = engine()
    add(vllm, ask("a", range(64)))
    assert not vllm.flush_cache()
    drain(vllm)
    assert vllm.flush_cache()
    add(vllm, ask("b", range(64)))
    assert cached(drain(vllm)) == {"b": 0}


@pytest.mark.parametrize("bad", [range(1000), []])
def test_what_can_never_run_is_refused(bad: list[int]) -> None:
    """A prompt that leaves no room for a token, or has none, is refused."""
    with pytest.raises(ValueError, match=r"fit|empty"):
        add(engine(), ask("a", bad))


def test_foreign_policies_are_refused() -> None:
    """vLLM has no prefix-aware order."""
    with pytest.raises(ValueError, match="lpm"):
        engine(policy="lpm")
