"""Which model serves a request by the configuration's rules, and its name put into the body."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import msgspec
from msgspec import Struct

from paceline.proxy.config import RuleConfig
from paceline.proxy.http.splice import with_member

_WILD = frozenset("*?[")


class Shape(Struct, frozen=True, kw_only=True):
    """What a scheduled request asks for, beside its model."""

    streaming: bool
    prompt_tokens: int
    max_tokens: int | None
    """None: as many as there is room for."""


class Ask(Struct, frozen=True, kw_only=True):
    """All that rules look at."""

    model: str
    """Empty when the request names none."""
    path: str
    tenant: str
    headers: Mapping[str, str]
    """Compared without regard to case."""
    shape: Shape | None = None
    """None where the proxy does not read so much of a request."""


def choose(rules: Iterable[RuleConfig], ask: Ask) -> str:
    """The model that serves it: the first matching rule's, or the one asked for."""
    return next((rule.to for rule in rules if matches(rule, ask)), ask.model)


def matches(rule: RuleConfig, ask: Ask) -> bool:
    """Whether all conditions of a rule hold."""
    return (
        _any(rule.models, ask.model)
        and _any(rule.tenants, ask.tenant)
        and _any(rule.paths, ask.path)
        and all(fnmatchcase(ask.headers.get(n, ""), value) for n, value in rule.headers.items())
        and _fits(rule, ask.shape)
    )


def aliases(rules: Iterable[RuleConfig]) -> dict[str, str]:
    """The models that rules alone serve, each with the one that does first."""
    found: dict[str, str] = {}
    for rule in rules:
        for name in rule.models:
            if not _WILD & set(name):
                found.setdefault(name, rule.to)
    return found


def renamed(body: bytes, model: str) -> bytes:
    """A request's body, a JSON object that is not empty, for another model."""
    return with_member(body, "model", msgspec.json.encode(model))


def _any(patterns: Sequence[str], value: str) -> bool:
    return not patterns or any(fnmatchcase(value, pattern) for pattern in patterns)


def _fits(rule: RuleConfig, shape: Shape | None) -> bool:
    if shape is None:
        prompt = (rule.min_prompt_tokens, rule.max_prompt_tokens)
        output = (rule.min_output_tokens, rule.max_output_tokens)
        return {rule.streaming, *prompt, *output} == {None}
    return (
        rule.streaming in (None, shape.streaming)
        and _within(rule.min_prompt_tokens, shape.prompt_tokens, rule.max_prompt_tokens)
        and _within(rule.min_output_tokens, shape.max_tokens, rule.max_output_tokens)
    )


def _within(least: int | None, value: int | None, most: int | None) -> bool:
    """Without a value there is no end to it."""
    if value is None:
        return most is None
    return (least is None or least <= value) and (most is None or value <= most)
