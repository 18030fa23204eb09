"""vLLM's scheduler (V1, read in 0.33): one mixed batch a step, running first, then the queue.

The budget of a step is shared by decodes and prefills. A prefix is published when it is scheduled,
so that a later request of the same step already hits it. Whoever does not fit stops the queue; a
decode that finds no block preempts the newest (or worst) sequence, which computes everything anew
but for what it still finds in the cache.
"""

from __future__ import annotations

from paceline.engines.model.block_cache import BlockCache, Lease
from paceline.engines.model.engine import EngineConfig, EngineLoad, SequenceRequest
from paceline.engines.model.pipeline import Pipeline, Plan
from paceline.engines.model.steptime import Work
from paceline.engines.model.waiting import VllmSequence, WaitingQueue

BLOCK_SIZE = 16
MAX_NUM_SEQS = 1024
"""Server default on an H100."""


class VllmEngine(Pipeline[VllmSequence]):
    """vLLM in virtual time; ValueError for a policy that vLLM lacks."""

    def __init__(self, config: EngineConfig) -> None:
        if config.policy not in ("fcfs", "priority"):
            raise ValueError(f"vLLM has no policy {config.policy}")
        self._block = config.block_size or BLOCK_SIZE
        self.cache = BlockCache(config.kv_tokens // self._block, self._block)
        super().__init__(config.time, self.cache.blocks * self._block)
        self._budget = config.chunk_tokens
        self._max_running = config.max_running or MAX_NUM_SEQS
        self._by_priority = config.policy == "priority"
        self._waiting = WaitingQueue()
        self._arrivals = 0

    def add(self, request: SequenceRequest, now: float) -> None:
        """Queue `request`; ValueError when it can never fit the pool or its id is in use."""
        room = self._room(request, self._kv_tokens)
        tapes = self._tapes.of(request)
        sequences = [self._sequence(request, i, tape, room) for i, tape in enumerate(tapes)]
        self._live[request.id] = sequences
        for sequence in sequences:
            self._waiting.push(sequence)

    def load(self) -> EngineLoad:
        """The engine's figures as of the last call."""
        counters = self.counters
        return EngineLoad(
            running=len(self._running),
            waiting=len(self._waiting),
            kv_used=(self.cache.blocks - self.cache.free) * self._block,
            kv_tokens=self._kv_tokens,
            query_tokens=counters.query_tokens,
            hit_tokens=counters.hit_tokens,
            preemptions=counters.preemptions,
            evicted_tokens=self.cache.evicted * self._block,
            prefill_tokens=counters.prefill_tokens,
            output_tokens=counters.output_tokens,
        )

    def flush_cache(self) -> bool:
        """Forget every cached prefix; False, and nothing happens, while a request is here."""
        if not self._live:
            self.cache.flush()
        return not self._live

    def _sequence(
        self, request: SequenceRequest, index: int, tape: bytes, room: int
    ) -> VllmSequence:
        sequence = VllmSequence(request, index, tape, room)
        self._arrivals += 1
        sequence.order = (request.priority if self._by_priority else 0, self._arrivals)
        sequence.lease = Lease()
        sequence.computed = sequence.planned = sequence.scheduled = 0
        return sequence

    def _compose(self) -> Plan[VllmSequence] | None:
        plan: Plan[VllmSequence] = Plan()
        if not self._schedule_running(plan):
            self._schedule_waiting(plan)
        if not plan.work.prefill_tokens:  # else the prefills' tiles come in between
            plan.work.shared = min(self.cache.shared * self._block, plan.work.context)
        return plan if plan.work.tokens else None

    def _schedule_running(self, plan: Plan[VllmSequence]) -> bool:
        """Give every running sequence its tokens; whether somebody was preempted for it."""
        preemptions = self.counters.preemptions
        at = 0
        while at < len(self._running) and plan.work.tokens < self._budget:
            sequence = self._running[at]
            if self._decode_in_block(sequence, plan):
                at += 1
            elif self._schedule_more(sequence, at, plan):
                at = self._after(sequence, at)
            else:
                break
        return self.counters.preemptions > preemptions

    def _after(self, sequence: VllmSequence, at: int) -> int:
        """Place after `sequence`, which stood at `at` unless a victim before it left."""
        at = min(at, len(self._running) - 1)
        while self._running[at] is not sequence:
            at -= 1
        return at + 1

    def _decode_in_block(self, sequence: VllmSequence, plan: Plan[VllmSequence]) -> bool:
        """Add a decode that neither begins nor ends a block, the commonest case by far."""
        before = sequence.computed
        if (
            sequence.planned >= sequence.limit
            or before + 1 != sequence.prompt_tokens + sequence.planned
            or before < sequence.prompt_tokens
            or (before + 1) % self._block < 2
        ):
            return False
        sequence.computed = before + 1
        sequence.planned += 1
        sequence.scheduled = 1
        plan.work.decode(before)
        plan.sampling.append(sequence)
        return True

    def _schedule_more(self, sequence: VllmSequence, at: int, plan: Plan[VllmSequence]) -> bool:
        """Give `sequence`, which stands at `at`, what it wants; False when it was preempted."""
        sequence.scheduled = 0
        if sequence.planned >= sequence.limit:
            return True
        wanted = sequence.prompt_tokens + sequence.planned - sequence.computed
        count = min(wanted, self._budget - plan.work.tokens)
        missing = self._missing(sequence, sequence.computed + count)
        while missing > self.cache.free:
            if self._preempt(at, plan) is sequence:
                return False
        self._schedule(sequence, count, missing, plan)
        return True

    def _schedule_waiting(self, plan: Plan[VllmSequence]) -> None:
        while plan.work.tokens < self._budget and len(self._running) < self._max_running:
            sequence = self._waiting.head()
            if sequence is None or not self._admit(sequence, plan):
                return

    def _admit(self, sequence: VllmSequence, plan: Plan[VllmSequence]) -> bool:
        """Start the queue's head if all its tokens fit; the last one is always computed."""
        hits = self.cache.match(sequence.tape, (sequence.known - 1) // self._block)
        if self._blocks(sequence.known) - hits.blocks + hits.idle > self.cache.free:
            return False
        self._running.append(self._waiting.pop())
        sequence.lease = self.cache.hold(hits)
        sequence.computed = hits.blocks * self._block
        self._count_admission(sequence, sequence.computed)
        count = min(sequence.known - sequence.computed, self._budget - plan.work.tokens)
        self._schedule(sequence, count, self._missing(sequence, sequence.computed + count), plan)
        return True

    def _schedule(
        self, sequence: VllmSequence, count: int, missing: int, plan: Plan[VllmSequence]
    ) -> None:
        """Put `count` tokens of `sequence` into the step and publish the blocks that they fill."""
        before = sequence.computed
        sequence.computed = before + count
        sequence.scheduled = count
        if missing:
            self.cache.take(sequence.lease, missing)
        self._charge(sequence, before, plan.work)
        if sequence.computed == sequence.prompt_tokens + sequence.planned:
            sequence.planned += 1
            plan.sampling.append(sequence)
        self._publish(sequence)

    def _charge(self, sequence: VllmSequence, before: int, work: Work, sign: int = 1) -> None:
        if before >= sequence.prompt_tokens and sequence.scheduled == 1:
            work.decode(before, sign)
        else:
            work.prefill(sequence.scheduled, before, sign)

    def _publish(self, sequence: VllmSequence) -> None:
        full = sequence.computed // self._block
        if full > sequence.lease.known:
            self.cache.publish(sequence.lease, sequence.tape, full)

    def _preempt(self, at: int, plan: Plan[VllmSequence]) -> VllmSequence:
        """Put the newest (or worst) running sequence back into the queue, without its blocks.

        Those that stand before `at` are in the step already and are taken out of it.
        """
        victim = self._running[-1]
        if self._by_priority:
            victim = max(self._running, key=lambda sequence: sequence.order)
        if victim in self._running[:at] and victim.scheduled:
            self._charge(victim, victim.computed - victim.scheduled, plan.work, -1)
            plan.sampling = [s for s in plan.sampling if s is not victim]
        self._running.remove(victim)
        self._release(victim)
        victim.planned = victim.made
        self._waiting.push(victim)
        self.counters.preemptions += 1
        return victim

    def _release(self, sequence: VllmSequence) -> None:
        self.cache.release(sequence.lease)
        sequence.computed = 0

    def _apply(self, plan: Plan[VllmSequence]) -> None:
        ended = [s for s in plan.sampling if not s.done and self._take_token(s)]
        if not ended:
            return
        before = len(self._running)
        self._running = [s for s in self._running if not s.done]
        for sequence in ended:
            self._release(sequence)
            if before - len(self._running) < len(ended):  # one of them had been preempted
                self._waiting.remove(sequence)

    def _take_token(self, sequence: VllmSequence) -> bool:
        finished = self._advance(sequence)
        sequence.planned = max(sequence.planned, sequence.made)
        return finished

    def _gets(self, sequence: VllmSequence) -> bool:
        return not sequence.done

    def _closed(self) -> bool:
        head = self._waiting.head()
        if head is None or len(self._running) >= self._max_running:
            return True
        # It did not fit and room only shrinks, but somebody may be making what its prompt has.
        hits = self.cache.match(head.tape, (head.known - 1) // self._block)
        return not any(self.cache.follows(hits, s.lease) for s in self._running)

    def _fits(self, steps: int) -> bool:
        missing = sum(self._missing(s, s.computed + steps) for s in self._running)
        return missing <= self.cache.free

    def _decode_on(self, steps: int) -> None:
        # Of two that make the same blocks the one further on makes each of them first.
        for sequence in sorted(self._running, key=lambda s: -s.computed):
            sequence.planned += steps
            sequence.computed += steps
            missing = self._missing(sequence, sequence.computed)
            if missing:
                self.cache.take(sequence.lease, missing)
            self._publish(sequence)

    def _drop(self, sequence: VllmSequence) -> None:
        self._release(sequence)
        if sequence in self._running:
            self._running.remove(sequence)
        else:
            self._waiting.remove(sequence)

    def _missing(self, sequence: VllmSequence, tokens: int) -> int:
        return self._blocks(tokens) - sequence.lease.blocks

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self._block)
