"""Generators give what their settings say, the same for the same seed."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from paceline.sim.generators import Agents, Chat, Forks, Generator, Gsp, generate
from paceline.sim.tenants import Tenants, tenants
from tests.sim.dialogue import prompts

ALL: list[Generator] = [Gsp(), Chat(), Agents(), Forks()]


@pytest.mark.parametrize("settings", ALL, ids=lambda s: type(s).__name__)
def test_seeds(settings: Generator) -> None:
    """Equal seeds give equal prompts, others give others."""
    assert prompts(generate(settings, 1)) == prompts(generate(settings, 1))
    assert prompts(generate(settings, 1)) != prompts(generate(settings, 2))


@pytest.mark.parametrize("settings", [Chat(), Agents()], ids=lambda s: type(s).__name__)
def test_sessions_do_not_depend_on_one_another(settings: Generator) -> None:
    """Turns drawn in another order are the same: policies must not change the workload."""
    sessions = list(generate(settings, 3))
    backwards = [[t.prompt for t in session.turns] for session in reversed(sessions)]
    assert backwards[::-1] == [[t.prompt for t in s.turns] for s in generate(settings, 3)]


def test_families_share_their_prefix_and_nothing_else() -> None:
    """gsp: 2,000 shared tokens within a family, different from the first token across."""
    turns = [next(iter(s.turns)) for s in generate(Gsp(groups=3, members=4), 1)]
    assert Counter(t.family for t in turns) == {"0": 4, "1": 4, "2": 4}
    heads = {t.family: t.prompt[:2000] for t in turns}
    assert all(t.prompt[:2000] == heads[t.family] for t in turns)
    assert len({t.prompt[2000:].tobytes() for t in turns}) == 12
    assert len({head[0] for head in heads.values()}) == 3


def test_order_and_popularity() -> None:
    """Grouped families come one after the other; Zipf's first family is the most popular."""
    grouped = [next(iter(s.turns)).family for s in generate(Gsp(order="grouped"), 1)]
    assert grouped == sorted(grouped, key=int)
    zipf = Gsp(popularity="zipf", groups=20, members=50, shared=1, unique=1)
    counts = Counter(next(iter(s.turns)).family for s in generate(zipf, 1))
    assert counts.total() == 1000
    assert counts["0"] == max(counts.values()) > 3 * counts["9"]


@pytest.mark.parametrize("settings", [Chat(), Agents()], ids=lambda s: type(s).__name__)
def test_a_turn_contains_the_answer_before_it(settings: Generator) -> None:
    """Every prompt begins with the earlier one and its answer; the pause is positive."""
    several = 0
    for session in generate(settings, 1):
        for before, after in pairwise(session.turns):
            assert before.output is not None
            assert len(before.output) == before.output_tokens
            said = before.prompt + before.output
            assert after.prompt[: len(said)] == said
            assert after.pause > 0
            several += 1
    assert several > 100


def test_forks_sample_one_prompt() -> None:
    """Samples of one prompt are equal but for their lengths."""
    turns = [next(iter(s.turns)) for s in generate(Forks(prompts=2, samples=5), 1)]
    assert len({t.prompt.tobytes() for t in turns[:5]}) == 1
    assert len({t.output_tokens for t in turns[:5]}) > 1
    assert turns[0].prompt[:200] == turns[5].prompt[:200]
    assert turns[0].prompt[200] != turns[5].prompt[200]


def test_tenants_come_by_time_the_first_most_often() -> None:
    """All tenants send as many requests, the n-th over n times as long; starts are in order."""
    sessions = list(tenants(Tenants(tenants=4, groups=4, members=50), 1, rate=20))
    starts = [session.at for session in sessions]
    assert starts == sorted(starts)
    last = {s.id.partition("-")[0]: s.at for s in sessions}
    assert last["t1"] < last["t2"] < last["t4"]
