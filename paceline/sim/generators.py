"""Synthetic sessions: shared prefixes, conversations, agents, forks; same seed, same ids."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import accumulate
from random import Random
from typing import Literal

from msgspec import Struct

from paceline.sim.workload import Session, Turn, fresh, single


class Gsp(Struct, frozen=True, kw_only=True, tag="gsp", forbid_unknown_fields=True):
    """Generated shared prefixes: families whose prompts begin alike (SGLang's benchmark of old)."""

    groups: int = 64
    """Families."""
    members: int = 6
    """Requests a family, on average where they are drawn by Zipf's law."""
    shared: int = 2000
    """Tokens that a family's prompts share."""
    unique: int = 200
    """Tokens of each prompt's own."""
    output: int = 16
    """Tokens of each answer."""
    popularity: Literal["uniform", "zipf"] = "uniform"
    """How requests spread over families: uniform or zipf."""
    zipf: float = 1.0
    """Exponent of Zipf's law."""
    order: Literal["shuffled", "grouped"] = "shuffled"
    """shuffled, or grouped: family by family."""


class Chat(Struct, frozen=True, kw_only=True, tag="chat", forbid_unknown_fields=True):
    """Conversations: each turn's prompt holds all before it, the answers included."""

    sessions: int = 100
    """Conversations."""
    turns: int = 5
    """Mean number of turns, geometrically distributed."""
    system: int = 500
    """Tokens of the system prompt that all sessions share."""
    user: int = 150
    """Mean tokens a user adds, exponentially distributed."""
    output: int = 250
    """Mean tokens of an answer, exponentially distributed."""
    think: float = 10.0
    """Mean seconds between an answer and the next turn, exponentially distributed."""


class Agents(Struct, frozen=True, kw_only=True, tag="agents", forbid_unknown_fields=True):
    """Agents that call tools: many turns, short answers, long results, hardly a pause."""

    sessions: int = 50
    """Runs of an agent."""
    turns: int = 15
    """Mean number of calls, geometrically distributed."""
    templates: int = 4
    """Different agents; those of one template share system prompt and tools."""
    system: int = 4000
    """Tokens of system prompt and tools."""
    result: int = 600
    """Mean tokens of a tool's result, exponentially distributed."""
    output: int = 120
    """Mean tokens of an answer, exponentially distributed."""
    tool: float = 1.5
    """Mean seconds that a tool takes, exponentially distributed."""


class Forks(Struct, frozen=True, kw_only=True, tag="forks", forbid_unknown_fields=True):
    """Rollouts: one prompt is sampled several times at once, as in reinforcement learning."""

    prompts: int = 64
    """Different prompts."""
    samples: int = 8
    """Answers to each prompt, sent as requests of their own."""
    shared: int = 200
    """Tokens that all prompts share."""
    prompt: int = 800
    """Tokens of each prompt's own."""
    output: int = 400
    """Mean tokens of an answer, exponentially distributed."""


Generator = Gsp | Chat | Agents | Forks


def generate(settings: Generator, seed: int, tenant: str = "") -> Iterator[Session]:
    """The sessions in the order of their start, times not yet set; the same for the same seed."""
    match settings:
        case Gsp():
            return _gsp(settings, Random(f"gsp {seed} {tenant}"), tenant)
        case Chat():
            return _conversations(_chat_script(settings), settings.sessions, 1, seed, tenant)
        case Agents():
            script = _agent_script(settings)
            return _conversations(script, settings.sessions, settings.templates, seed, tenant)
        case Forks():
            return _forks(settings, Random(f"forks {seed} {tenant}"), tenant)


def _gsp(settings: Gsp, rng: Random, tenant: str) -> Iterator[Session]:
    prefixes = [fresh(rng, settings.shared) for _ in range(settings.groups)]
    for number, group in enumerate(_members(settings, rng)):
        turn = Turn(
            prompt=prefixes[group] + fresh(rng, settings.unique),
            output_tokens=settings.output,
            max_tokens=settings.output,
            family=f"{tenant}{group}",
            tenant=tenant.removesuffix("-"),
        )
        yield single(f"{tenant}{number:06d}", turn)


def _members(settings: Gsp, rng: Random) -> list[int]:
    """The family of each request."""
    groups = range(settings.groups)
    if settings.popularity == "zipf":
        weights = list(accumulate((rank + 1) ** -settings.zipf for rank in groups))
        drawn = rng.choices(groups, cum_weights=weights, k=settings.groups * settings.members)
        return sorted(drawn) if settings.order == "grouped" else drawn
    members = [group for group in groups for _ in range(settings.members)]
    if settings.order == "shuffled":
        rng.shuffle(members)
    return members


class _Script(Struct, frozen=True):
    """What conversations of a kind have in common; means."""

    turns: int
    system: int
    added: int
    output: int
    pause: float


def _chat_script(settings: Chat) -> _Script:
    return _Script(settings.turns, settings.system, settings.user, settings.output, settings.think)


def _agent_script(settings: Agents) -> _Script:
    return _Script(settings.turns, settings.system, settings.result, settings.output, settings.tool)


def _conversations(
    script: _Script, sessions: int, templates: int, seed: int, tenant: str
) -> Iterator[Session]:
    systems = [fresh(Random(f"system {seed} {t}"), script.system) for t in range(templates)]
    for number in range(sessions):
        # A generator of its own: what one session draws must not depend on when others go on.
        rng = Random(f"session {seed} {tenant} {number}")
        template = rng.randrange(templates)
        id = f"{tenant}{number:05d}"
        family = f"t{template}" if templates > 1 else id
        turns = _talk(script, systems[template], rng, family, tenant)
        yield Session(id, turns)


def _talk(
    script: _Script, system: array[int], rng: Random, family: str, tenant: str
) -> Iterator[Turn]:
    context, pause = system, 0.0
    while True:
        context = context + fresh(rng, _length(script.added, rng))
        answer = fresh(rng, _length(script.output, rng))
        yield Turn(
            prompt=context,
            output_tokens=len(answer),
            max_tokens=8 * script.output,
            output=answer,
            pause=pause,
            family=family,
            tenant=tenant.removesuffix("-"),
        )
        if rng.random() < 1 / script.turns:
            return
        context = context + answer
        pause = rng.expovariate(1 / script.pause) if script.pause else 0.0


def _forks(settings: Forks, rng: Random, tenant: str) -> Iterator[Session]:
    shared = fresh(rng, settings.shared)
    for number in range(settings.prompts):
        prompt = shared + fresh(rng, settings.prompt)
        for sample in range(settings.samples):
            turn = Turn(
                prompt=prompt,
                output_tokens=_length(settings.output, rng),
                max_tokens=8 * settings.output,
                family=f"{tenant}{number}",
                tenant=tenant.removesuffix("-"),
            )
            yield single(f"{tenant}{number:05d}.{sample}", turn)


def _length(mean: int, rng: Random) -> int:
    """At least 1, at most 8 times the mean."""
    return min(max(1, round(rng.expovariate(1 / mean))), 8 * mean)
