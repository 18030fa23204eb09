"""SGLang's scheduler (read in 0.5.16 and 0.5.23): prefill first, else decode; prefixes come late.

A prefill batch is composed from the queue's front until somebody does not fit; then nobody is tried
again before a sequence leaves, or a prompt in chunks has got one more. Output is reserved in part.
What a batch computed enters the radix tree when its results are processed, so siblings in one
batch, or in the next, all compute it. A decode without room retracts the sequences that have made
least.
"""

from __future__ import annotations

from paceline.engines.model.engine import EngineConfig, EngineLoad, SequenceRequest
from paceline.engines.model.kv_room import AdmissionBudget, KvRoom, SglangSequence
from paceline.engines.model.pipeline import Pipeline, Plan
from paceline.engines.model.sglang_order import make_order
from paceline.engines.model.sglang_release import RELEASES

MAX_RUNNING = 2048
"""The least that SGLang chooses by itself where the pool allows."""
RATIO_START, RATIO_MIN = 0.7, 0.098
RATIO_STEP = (RATIO_START - RATIO_MIN) / 600
"""Part of the unmade output that running sequences are taken to need; falls at every decode."""
RETRACT_STEPS = 20
"""Decode steps for which a retraction makes room."""


class SglangEngine(Pipeline[SglangSequence]):
    """SGLang in virtual time; ValueError for a policy that SGLang lacks."""

    def __init__(self, config: EngineConfig) -> None:
        rules = RELEASES[config.release]
        page = config.block_size or 1
        self.room = KvRoom(config.kv_tokens, page, evicts_all=rules.evicts_all)
        super().__init__(config.time, self.room.tokens)
        self._order = make_order(
            config.policy, config.priority, config.seed, refreshes=rules.refreshes
        )
        self._rules = rules
        self._chunk_tokens = config.chunk_tokens
        self._max_running = config.max_running or MAX_RUNNING
        self._waiting: list[SglangSequence] = []
        self._prefilling: list[SglangSequence] = []
        """Those whose prefill ends in the newest batch; they decode from the next one on."""
        self._chunked: SglangSequence | None = None
        self._full = False
        """Nobody is admitted until somebody leaves (`batch_is_full`)."""
        self._left = False
        """Somebody has left, which is not noticed yet."""
        self._ratio = RATIO_START
        self._arrivals = 0
        self._processed = 0
        self._choices: dict[str, list[SglangSequence]] = {}
        """Choices of a request with n > 1, until its prompt has been computed once."""

    def add(self, request: SequenceRequest, now: float) -> None:
        """Queue `request`; ValueError when it can never fit the pool or its id is in use.

        The prompt of a request with several choices is computed once before they are queued, as
        SGLang's tokenizer manager does.
        """
        room = self._room(request, self.room.tokens - self.room.page - 1)
        tapes = list(self._tapes.of(request))
        choices = [self._sequence(request, i, tape, room) for i, tape in enumerate(tapes)]
        self._live[request.id] = choices
        if request.n > 1:
            warm_up = self._sequence(request, -1, tapes[0], 0)
            self._live[request.id] = [warm_up, *choices]
            self._choices[request.id] = choices
        self._waiting.append(self._live[request.id][0])

    def load(self) -> EngineLoad:
        """The engine's figures as of the last call."""
        counters = self.counters
        admitted = len(self._running) + len(self._prefilling) + (self._chunked is not None)
        return EngineLoad(
            running=admitted,
            waiting=len(self._waiting),
            kv_used=self.room.tokens - self.room.available,
            kv_tokens=self.room.tokens,
            query_tokens=counters.query_tokens,
            hit_tokens=counters.hit_tokens,
            preemptions=counters.preemptions,
            evicted_tokens=self.room.tree.evicted,
            prefill_tokens=counters.prefill_tokens,
            output_tokens=counters.output_tokens,
        )

    def flush_cache(self) -> bool:
        """Forget every cached prefix; False, and nothing happens, while a request is here."""
        if not self._live:
            self.room.tree.flush()
        return not self._live

    def _sequence(
        self, request: SequenceRequest, index: int, tape: bytes, room: int
    ) -> SglangSequence:
        sequence = SglangSequence(request, index, tape, room)
        self._arrivals += 1
        sequence.arrival = self._arrivals
        sequence.born = self._processed
        sequence.kv = sequence.prefix = 0
        sequence.node = self.room.tree.root
        sequence.running = False
        return sequence

    def _compose(self) -> Plan[SglangSequence] | None:
        if self._chunked is not None:
            self.room.publish(self._chunked, self._chunked.kv)
            self._full = False
        if not self._running and not self._left and self._prefilling:
            self._full = False  # the flag is the running batch's, and that is a new one now
        self._running += self._prefilling
        self._prefilling = []
        return self._prefill() or self._decode()

    def _prefill(self) -> Plan[SglangSequence] | None:
        if self._chunked is None and (self._full or not self._waiting):
            return None
        self._order(self._waiting, self.room.tree, self._processed)
        budget = AdmissionBudget(self.room, self._chunk_tokens, self._running, self._ratio)
        plan: Plan[SglangSequence] = Plan()
        if self._chunked is not None:
            self._continue(self._chunked, budget, plan)
        taken = 0
        for sequence in self._waiting:
            if not self._admit(sequence, budget, plan):
                break
            taken += 1
            if budget.chunk <= 0:
                break
        del self._waiting[:taken]
        self.room.take(budget.extend)
        return plan if plan.work.tokens else None

    def _continue(
        self, sequence: SglangSequence, budget: AdmissionBudget, plan: Plan[SglangSequence]
    ) -> None:
        """Give the one sequence that is prefilled in chunks its next one."""
        room = int(budget.total)
        limit = min(budget.chunk, room) if room > 0 else budget.chunk
        self._extend(sequence, min(limit, sequence.known - sequence.kv), budget, plan)

    def _admit(
        self, sequence: SglangSequence, budget: AdmissionBudget, plan: Plan[SglangSequence]
    ) -> bool:
        """Take the queue's next into the batch, whole or in chunks; False stops the pass."""
        if self._full:
            return False
        admitted = len(self._running) + len(self._prefilling) + (self._chunked is not None)
        if admitted >= self._max_running:
            self._full = True
            return False
        self.room.pin(sequence)
        count = self._admissible(sequence, budget)
        if not count:
            self.room.unpin(sequence)
            return False
        self._count_admission(sequence, sequence.prefix)
        sequence.running = True
        self._extend(sequence, count, budget, plan)
        return True

    def _admissible(self, sequence: SglangSequence, budget: AdmissionBudget) -> int:
        """Tokens of a pinned sequence that this batch may compute; 0 when it must wait."""
        if not budget.fits(sequence):
            self._full = bool(self._running or budget.extend)
            return 0
        extend = sequence.known - sequence.prefix
        if self.room.pages(extend) <= budget.chunk:
            return extend
        if self._chunked is not None or budget.chunk <= 0:
            return 0
        return budget.chunk // self.room.page * self.room.page

    def _extend(
        self,
        sequence: SglangSequence,
        count: int,
        budget: AdmissionBudget,
        plan: Plan[SglangSequence],
    ) -> None:
        plan.work.prefill(count, sequence.kv)
        sequence.kv += count
        if sequence.kv < sequence.known:
            self._chunked = sequence
            budget.charge(count, 0)
            return
        if self._chunked is sequence:
            self._chunked = None
        self._prefilling.append(sequence)
        plan.sampling.append(sequence)
        budget.charge(count, sequence.reserve)

    def _decode(self) -> Plan[SglangSequence] | None:
        if self._left:
            self._left = self._full = False
        decoding = self._to_go_on()
        if not decoding:
            return None
        if self._decode_tokens(decoding) > self.room.available:
            if len(decoding) < len(self._running):
                return None  # those that end will make room
            self._retract()
            decoding = self._running
        self.room.take(self._decode_tokens(decoding))
        self._ratio = max(RATIO_MIN, self._ratio - RATIO_STEP)
        plan: Plan[SglangSequence] = Plan(decoding=True)
        plan.sampling = decoding.copy()
        plan.work.tokens = plan.work.decodes = len(decoding)
        for sequence in decoding:
            plan.work.context += sequence.kv
            sequence.kv += 1
        plan.work.shared = min(self.room.tree.shared, plan.work.context)
        return plan

    def _to_go_on(self) -> list[SglangSequence]:
        """The running sequences, without those whose last token is in flight where it is so."""
        if self._current is None or not self._rules.skips_ending:
            return self._running
        ending = {s for s in self._current.sampling if s.made + 1 >= s.limit}
        return [s for s in self._running if s not in ending] if ending else self._running

    def _decode_tokens(self, sequences: list[SglangSequence]) -> int:
        """Tokens that the next decode of `sequences` takes: a page each where the last is full."""
        page = self.room.page
        if page == 1:
            return len(sequences)
        return page * sum(sequence.kv % page == 0 for sequence in sequences)

    def _retract(self) -> None:
        """Send back those that made least, the longest prompts first, until the others fit."""
        kept = sorted(self._running, key=lambda s: (s.made, -s.prompt_tokens), reverse=True)
        while len(kept) > 1 and self._decode_tokens(kept) > self.room.available:
            victim = kept.pop()
            victim.running = False
            self.room.release(victim)
            self._waiting.append(victim)
            self.counters.preemptions += 1
        self._running = [s for s in self._running if s.running]
        self.room.clear(RETRACT_STEPS * len(kept))
        made = sum(s.made for s in kept) + RETRACT_STEPS * len(kept)
        self._ratio = min(1.0, made / (sum(s.limit for s in kept) + 1))
        self._full = False

    def _closed(self) -> bool:
        return self._chunked is None and not self._left and (self._full or not self._waiting)

    def _fits(self, steps: int) -> bool:
        return self._growth(steps) <= self.room.available

    def _growth(self, steps: int) -> int:
        """Tokens of the pool that `steps` decodes of every running sequence take."""
        pages = self.room.pages
        return sum(pages(s.kv + steps) - pages(s.kv) for s in self._running)

    def _decode_on(self, steps: int) -> None:
        self.room.take(self._growth(steps))
        for sequence in self._running:
            sequence.kv += steps
        for _ in range(steps):
            self._ratio = max(RATIO_MIN, self._ratio - RATIO_STEP)
        self._processed += steps * len(self._running)

    def _apply(self, plan: Plan[SglangSequence]) -> None:
        self._processed += plan.work.tokens
        for sequence in plan.sampling:
            if not self._gets(sequence):
                continue
            if sequence.index < 0:
                self._end_warm_up(sequence)
            elif self._advance(sequence):
                self.room.publish(sequence, sequence.known - 1)
                self._leave(sequence)
            elif not plan.decoding:
                self.room.publish(sequence, sequence.known - 1)
        self._running = [s for s in self._running if not s.done]
        if not self._live:
            self._ratio = RATIO_START

    def _end_warm_up(self, sequence: SglangSequence) -> None:
        sequence.done = True
        self.room.publish(sequence, sequence.known)
        self._leave(sequence)
        self._live[sequence.request_id].remove(sequence)
        self._waiting += self._choices.pop(sequence.request_id)

    def _leave(self, sequence: SglangSequence) -> None:
        sequence.running = False
        self.room.release(sequence)
        if self._rules.leaves_late:
            self._left = True
        else:
            self._full = False

    def _gets(self, sequence: SglangSequence) -> bool:
        return sequence.running and not sequence.done

    def _drop(self, sequence: SglangSequence) -> None:
        self._choices.pop(sequence.request_id, None)
        if sequence.running:
            if sequence.made:
                self.room.publish(sequence, sequence.known - 1)
            self._leave(sequence)
            if self._chunked is sequence:
                self._chunked = None
            self._running = [s for s in self._running if not s.done]
            self._prefilling = [s for s in self._prefilling if not s.done]
        elif sequence in self._waiting:
            self._waiting.remove(sequence)
