"""What both engines share: two steps in flight, and counting what happens.

Step n+2 is composed when step n ends, while n+1 runs: vLLM's async scheduling and SGLang's overlap
loop, both on by default. A request therefore waits for the step that was already composed, and what
step n brought is not known to n+1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from paceline.engines.model.engine import Output, SequenceRequest, Step
from paceline.engines.model.sequence import Sequence, Tapes
from paceline.engines.model.steptime import StepTime, Work

S = TypeVar("S", bound=Sequence)
IN_FLIGHT = 2
"""Tokens of a decoding sequence that the composed steps will make."""


class Counters:
    """Totals since the start, as the engines' metrics count them."""

    def __init__(self) -> None:
        self.query_tokens = 0
        self.hit_tokens = 0
        self.preemptions = 0
        self.prefill_tokens = 0
        self.output_tokens = 0


class Plan(Generic[S]):
    """A composed step: its work and the sequences that get a token from it."""

    __slots__ = ("decoding", "sampling", "work")

    def __init__(self, *, decoding: bool = False) -> None:
        self.work = Work()
        self.sampling: list[S] = []
        self.decoding = decoding
        """Whether it is SGLang's decode batch."""


class Pipeline(ABC, Generic[S]):
    """The loop around a scheduler; subclasses compose plans and apply their results."""

    def __init__(self, time: StepTime, kv_tokens: int) -> None:
        self.counters = Counters()
        self._time = time
        self._kv_tokens = kv_tokens
        self._tapes = Tapes()
        self._running: list[S] = []
        """In the order in which steps take them."""
        self._live: dict[str, list[S]] = {}
        """Unfinished sequences of every request."""
        self._current: Plan[S] | None = None
        """The step under way, while the one after it is composed."""
        self._next: Plan[S] | None = None

    def step(self, now: float) -> Step | None:
        """End the step under way, if any, and begin the next; None when there is nothing to do."""
        if self._current is not None:
            self._apply(self._current)
            self._current = None
        self._current = self._next or self._compose()
        if self._current is None:
            self._next = None
            return None
        self._next = self._compose()
        return self._begin(self._current, now)

    def ahead(self) -> list[float]:
        """Seconds of the steps to come for which it is certain that they only decode."""
        plan, then, running = self._current, self._next, self._running
        if plan is None or then is None or plan.work.prefill_tokens or then.work.prefill_tokens:
            return []
        if not plan.sampling == then.sampling == running or not self._closed():
            return []
        if plan.work.shared != then.work.shared:
            return []
        steps = min(min(s.length - s.made - 1, s.limit - s.made - IN_FLIGHT) for s in running)
        while steps > 0 and not self._fits(steps):
            steps //= 2
        return self._time.ahead(plan.work, steps)

    def skip(self, steps: int, now: float) -> Step:
        """What so many calls of `step` would do, the last one at `now`."""
        assert self._current is not None
        assert self._next is not None
        running = self._running
        for sequence in running:
            sequence.made += steps
        self.counters.output_tokens += steps * len(running)
        self._decode_on(steps)
        for plan in (self._current, self._next):
            plan.work.context += steps * len(running)
        return self._begin(self._current, now)

    def abort(self, request_id: str) -> bool:
        """End `request_id` at once and free what it holds; False when it is not here."""
        sequences = self._live.pop(request_id, None)
        for sequence in sequences or ():
            sequence.done = True
            self._drop(sequence)
        return sequences is not None

    @abstractmethod
    def _compose(self) -> Plan[S] | None:
        """The next step from what is known now; None when nothing can be computed."""

    @abstractmethod
    def _apply(self, plan: Plan[S]) -> None:
        """Take in what a step brought."""

    @abstractmethod
    def _gets(self, sequence: S) -> bool:
        """Whether a token that comes back for `sequence` now is kept."""

    @abstractmethod
    def _closed(self) -> bool:
        """Whether nobody who waits can be admitted while the running sequences only decode."""

    @abstractmethod
    def _fits(self, steps: int) -> bool:
        """Whether there is KV room for `steps` more tokens of every running sequence."""

    @abstractmethod
    def _decode_on(self, steps: int) -> None:
        """Do for every running sequence what composing and applying `steps` decodes does."""

    @abstractmethod
    def _drop(self, sequence: S) -> None:
        """Forget an aborted sequence wherever it stands."""

    def _room(self, request: SequenceRequest, pool: int) -> int:
        """Output tokens for which `pool` has room beside the prompt; ValueError when it has none.

        Real engines cut `max_tokens` to their context, which fits the pool.
        """
        if request.id in self._live:
            raise ValueError(f"request {request.id} is here already")
        room = pool - len(request.prompt)
        if room < 1:
            raise ValueError(f"a prompt of {len(request.prompt)} tokens does not fit the KV pool")
        return room

    def _begin(self, plan: Plan[S], now: float) -> Step:
        work = plan.work
        self.counters.prefill_tokens += work.prefill_tokens
        outputs = [
            Output(s.request_id, s.index, s.made + 1, s.made + 1 == s.length, s.cached)
            for s in plan.sampling
            if s.index >= 0 and self._gets(s)
        ]
        return Step(now, self._time.seconds(work), work.prefill_tokens, work.decodes, outputs)

    def _advance(self, sequence: S) -> bool:
        """Count one token of `sequence`; whether that was its last."""
        sequence.made += 1
        self.counters.output_tokens += 1
        if sequence.made < sequence.length:
            return False
        sequence.done = True
        siblings = self._live[sequence.request_id]
        siblings.remove(sequence)
        if not siblings:
            del self._live[sequence.request_id]
        return True

    def _count_admission(self, sequence: S, cached: int) -> None:
        """Cached tokens are counted once, at the first admission."""
        if sequence.cached < 0:
            sequence.cached = cached
            self.counters.query_tokens += sequence.prompt_tokens
            self.counters.hit_tokens += cached
