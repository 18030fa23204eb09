"""What the scheduler learns from the stream of events: means that forget, and answer lengths."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import OrderedDict, defaultdict, deque

from paceline.scheduler.types import Usage

MOST = 0.8
"""Part of the answers that fit into the room kept for one: the pool is shared, so that a few longer
ones find room that shorter ones left."""
MAX_TENANTS = 1000
"""Tenants whose answers are told apart, the most recent ones."""
SLACK = 256
"""Tokens by which fewer may be reported as cached than were predicted, and nothing follows: two
base blocks, or an engine's own; the last block of a prompt is computed again even if cached."""
SLACK_PART = 8
"""And one part in so many of the prediction, which rests on an estimate of bytes a token."""


class Mean:
    """Exponential moving mean: the last `memory` samples weigh about two thirds."""

    __slots__ = ("_count", "_memory", "_weight", "value")

    def __init__(self, value: float, memory: int = 32) -> None:
        self.value = value
        self._memory = memory
        self._count = 0
        """Samples taken, up to `memory`."""
        self._weight = 1.0
        """Of the last sample."""

    def add(self, sample: float) -> None:
        """Take one sample; the first few weigh more, so that the initial value fades at once."""
        if self._count < self._memory:
            self._count += 1
            self._weight = 1.0 / self._count
        self.value += (sample - self.value) * self._weight


class Quantile:
    """A quantile of the last samples, exact."""

    __slots__ = ("_memory", "_rank", "_recent", "_share", "_sorted", "value")

    def __init__(self, share: float, memory: int = 64) -> None:
        self._share = share
        self._memory = memory
        self._rank = 0
        self._recent: deque[int] = deque()
        self._sorted: list[int] = []
        self.value = 0
        """The least sample that is not below `share` of them; 0 before the first."""

    def add(self, sample: int) -> None:
        """Take one sample; the oldest goes once there are `memory`."""
        recent, ordered = self._recent, self._sorted
        if len(recent) == self._memory:
            del ordered[bisect_left(ordered, recent.popleft())]
        else:
            self._rank = math.ceil(self._share * (len(recent) + 1)) - 1
        recent.append(sample)
        insort(ordered, sample)
        self.value = ordered[self._rank]


class OutputLengths:
    """How long answers get: so long that most fit, by tenant of a model, or else by model."""

    def __init__(self, initial: int) -> None:
        self._initial = initial
        self._models: defaultdict[str, Quantile] = defaultdict(lambda: Quantile(MOST))
        self._tenants: OrderedDict[tuple[str, str], Quantile] = OrderedDict()
        """The most recent last."""

    def add(self, model: str, tenant: str, tokens: int) -> None:
        """An answer of `model` for `tenant` had so many tokens a choice."""
        self._models[model].add(tokens)
        if tenant:
            seen = self._tenants.pop((model, tenant), None) or Quantile(MOST)
            seen.add(tokens)
            self._tenants[model, tenant] = seen
            if len(self._tenants) > MAX_TENANTS:
                self._tenants.popitem(last=False)

    def expect(self, model: str, tenant: str, max_tokens: int | None) -> int:
        """Tokens to expect of one answer, never more than the client's limit."""
        seen = self._tenants.get((model, tenant)) if tenant else None
        seen = seen or self._models.get(model)
        tokens = self._initial if seen is None else seen.value
        return tokens if max_tokens is None or tokens < max_tokens else max_tokens


def truly_cached(cached: int, prompt_tokens: int, usage: Usage) -> int:
    """How much was cached, at most, in the scheduler's tokens, where `cached` was believed.

    The engine counts true tokens, the scheduler's are estimated: `prompt_tokens` is the prompt's
    length by the same estimate. A report that is close, or none, is taken for the belief itself.
    """
    if usage.cached_tokens is None:
        return cached
    told = usage.cached_tokens
    if usage.prompt_tokens:
        told = told * prompt_tokens // usage.prompt_tokens
    return min(cached, told + max(SLACK, cached // SLACK_PART))
