"""The state machine: events in, decisions out.

Rules:
1. `handle` is the only way in (and `use`, for another policy), the actions returned the only way
   out; equal inputs give equal outputs.
2. Every `Arrived` ends in exactly one of finished, rejected, cancelled, failed. Events about an
   unknown or ended id change nothing, so the shell may be late or say things twice.
3. A backend with nothing waiting and a free slot is never refused a request, but for a follower
   whose leader is being prefilled there.
4. A request waits for the backend that has its prefix cached while that one is busy and the others
   have work of their own.
5. The first request that does not fit into a backend's KV room closes that backend for those behind
   it: letting smaller ones pass evicts what is about to be hit (sglang#394).
"""

from __future__ import annotations

import random

from paceline.scheduler.admission import Admission
from paceline.scheduler.choice import Choice, Placed, View
from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.entry import Entries, Entry
from paceline.scheduler.estimates import Mean, OutputLengths
from paceline.scheduler.events import (
    Action,
    Arrived,
    BackendChanged,
    BackendRemoved,
    BackendReset,
    CacheReported,
    Cancelled,
    Dispatch,
    Event,
    Failed,
    Finished,
    FirstByte,
    LoadReported,
    Reject,
    Tick,
)
from paceline.scheduler.fleet import Backend, Fleet
from paceline.scheduler.policy import Policy
from paceline.scheduler.queue import WaitQueue
from paceline.scheduler.snapshot import Snapshot
from paceline.scheduler.trie import PrefixTrie, Trie
from paceline.scheduler.types import Keys


class Scheduler:
    """Holds, orders and places requests. Not thread-safe; `now` must not go backwards."""

    def __init__(
        self, config: SchedulerConfig, policy: Policy, seed: int = 0, trie: Trie | None = None
    ) -> None:
        self.policy = policy
        self._config = config
        self._trie = PrefixTrie() if trie is None else trie
        self._fleet = Fleet(config, self._trie)
        self._entries: dict[str, Entry] = {}
        self._queues: dict[str, WaitQueue] = {}
        self._admission = Admission(config)
        self._outputs = OutputLengths(config.output_tokens)
        self._waits = Mean(0.0)
        self._view = View(self._entries, random.Random(seed))
        self._choice = Choice(config, policy, self._fleet, self._view)
        self._seq = 0
        self._arriving: Entry | None = None
        self._actions: list[Action] = []

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take one event at time `now` (seconds); returns what to do, in this order."""
        self._actions = []
        self._arriving = None
        self._view.now = now
        self._take(event, now)
        self._expire(now)
        self._settle(now)
        for queue in self._busy_queues():
            self._serve(queue, now)
        return self._actions

    def use(self, policy: Policy, now: float) -> list[Action]:
        """Order and place by another policy from now on, those who wait already too."""
        self._view.now = now
        self.policy = policy
        self._choice = Choice(self._config, policy, self._fleet, self._view)
        waiting = [entry for queue in self._queues.values() for entry in queue]
        self._queues.clear()
        for entry in sorted(waiting, key=lambda entry: entry.seq):
            self._line_up(entry)
        return self.handle(Tick(), now)

    def deadline(self) -> float | None:
        """When to send a `Tick` if nothing else happens before; None for never."""
        if not self._admission.waiting:
            return None
        times = [t for backend in self._fleet if (t := backend.next_settle()) is not None]
        times += [
            leader.dispatched_at + self._config.follower_max_seconds
            for queue in self._queues.values()
            for leader in queue.leaders()
        ]
        expiry = self._admission.next_expiry()
        return min(times if expiry is None else [*times, expiry], default=None)

    def snapshot(self, now: float) -> Snapshot:
        """The state at `now`, for people and metrics."""
        return Snapshot(
            waiting=self._admission.waiting,
            waiting_tokens=self._admission.waiting_tokens,
            in_flight=len(self._entries) - self._admission.waiting,
            mean_wait_seconds=self._waits.value,
            trie_nodes=self._trie.nodes,
            trie_blocks=self._trie.blocks,
            queues=[queue.snapshot(model, now) for model, queue in self._queues.items()],
            backends=[backend.snapshot() for backend in self._fleet],
        )

    def __repr__(self) -> str:
        waiting = self._admission.waiting
        return f"<Scheduler [{waiting} waiting, {len(self._entries) - waiting} in flight]>"

    # Events

    def _take(self, event: Event, now: float) -> None:
        # By type, the frequent ones first: a `match` costs twice as much.
        kind = type(event)
        if kind is Arrived:
            self._arrive(event, now)  # type: ignore[arg-type]
        elif kind is FirstByte:
            self._first_byte(event.id, now)  # type: ignore[union-attr]
        elif kind is Finished:
            self._finish(event)  # type: ignore[arg-type]
        else:
            self._take_rare(event, now)

    def _take_rare(self, event: Event, now: float) -> None:
        match event:
            case Cancelled(id) | Failed(id, retry=False):
                self._end(self._entries.get(id))
            case Failed(id):
                if (entry := self._in_flight(id)) is not None:
                    self._retry(entry)
            case LoadReported(id, _, waiting, asked_at):
                if id in self._fleet:
                    self._open(id)
                    self._fleet[id].report(waiting, now, asked_at)
            case CacheReported(id) if id in self._fleet:
                self._rerank(self._fleet[id].cache.tell(event))
            case _:
                self._change_fleet(event)

    def _first_byte(self, id: str, now: float) -> None:
        entry = self._in_flight(id)
        if entry is not None:
            self._open(entry.backend)
            self._rerank(self._fleet[entry.backend].first_byte(entry, now))
            self._release_followers(entry)

    def _arrive(self, event: Arrived, now: float) -> None:
        request = event.request
        if request.id in self._entries:
            raise ValueError(f"request id {request.id!r} is in use")
        if (refused := self._refuse(event)) is not None:
            self._actions.append(refused)
            return
        entry = Entry(request, self._seq)
        self._seq += 1
        self._entries[request.id] = entry
        self._arriving = entry
        expected = self._outputs.expect(request.model, request.tenant, request.max_tokens)
        entry.output_tokens = expected * request.n
        self._trie.add(entry)
        self._enqueue(entry)

    def _refuse(self, event: Arrived) -> Reject | None:
        if not self._fleet.knows(event.request.model):
            return Reject(event.request.id, "unknown_model")
        return self._admission.refuse(event.request)

    def _finish(self, event: Finished) -> None:
        entry = self._in_flight(event.id)
        if entry is None:
            return
        request = entry.request
        output_tokens = event.usage.output_tokens
        if output_tokens is None:
            output_tokens = entry.output_tokens
        else:
            self._outputs.add(request.model, request.tenant, output_tokens // request.n)
        self.policy.finished(request, output_tokens)
        cached = event.usage.cached_tokens
        if cached is not None and cached < entry.cached:
            self._rerank(self._fleet[entry.backend].cache.missed(entry, event.usage))
        self._end(entry, output_tokens, event.prefix)

    def _end(self, entry: Entry | None, output: int | None = None, answered: Keys = ()) -> None:
        """The request is over; with `output` tokens its KV stays in the backend's cache."""
        if entry is None:
            return
        del self._entries[entry.request.id]
        if entry.waiting:
            self._dequeue(entry)
            entry.waiting = False
            self._trie.drop(entry)
        else:
            self._land(entry, output, answered)

    def _retry(self, entry: Entry) -> None:
        """Back to the head of the queue, for another backend."""
        entry.avoid = entry.backend
        entry.retried = True
        entry.waiting = True
        self._land(entry, None)
        entry.computed = False
        self._trie.wait(entry)
        self._enqueue(entry)

    def _land(self, entry: Entry, output: int | None, answered: Keys = ()) -> None:
        self._release_followers(entry)
        self._open(entry.backend)
        self._rerank(self._fleet[entry.backend].land(entry, output, answered))

    def _change_fleet(self, event: Event) -> None:
        match event:
            case BackendChanged(spec):
                self._rerank(self._fleet.put(spec))
                self._reopen(spec.id)
            case BackendReset(id):
                if id in self._fleet:
                    self._rerank(self._fleet[id].cache.forget())
                    self._reopen(id)
            case BackendRemoved(id):
                if id in self._fleet:
                    for entry in list(self._fleet[id].in_flight):
                        self._end(entry)
                    self._rerank(self._fleet.remove(id))
                    self._reopen(id)
            case Tick() | _:
                pass

    def _reopen(self, backend: str) -> None:
        """Let those that wait for this backend look around again."""
        self._open(backend)
        for queue in self._queues.values():
            queue.merge(backend, self._view)

    def _open(self, backend: str) -> None:
        """Something changed there: what did not fit may now."""
        for queue in self._queues.values():
            queue.open(backend)

    # The queue

    def _enqueue(self, entry: Entry) -> None:
        if entry.request.exact:
            self._fleet.recognise(entry)
        self._admission.enter(entry)
        self._line_up(entry)

    def _line_up(self, entry: Entry) -> None:
        queue = self._queues.get(entry.request.model)
        if queue is None:
            queue = self._queues[entry.request.model] = WaitQueue(entry.request.model, self.policy)
        self._view.backends = self._fleet.all
        self.policy.entered(entry.request, self._view)
        queue.add(entry, self._waits.value, self._view)

    def _dequeue(self, entry: Entry) -> None:
        self._admission.leave(entry)
        self.policy.left(entry.request, self._view)
        queue = self._queues[entry.request.model]
        queue.remove(entry)
        if not queue:
            del self._queues[entry.request.model]
        self._trie.leave(entry)

    def _rerank(self, changed: Entries) -> None:
        """What is cached of these prompts changed."""
        if not changed:
            return
        self._view.backends = self._fleet.all
        again = self.policy.ranks == "on_match"
        for entry in changed:
            if entry.waiting and entry.held_by is None:
                queue = self._queues[entry.request.model]
                if again:
                    queue.rank(entry, self._view)
                else:
                    queue.park(entry, None, self._view)

    def _busy_queues(self) -> list[WaitQueue]:
        """Those with somebody waiting, the one with the oldest request first."""
        if len(self._queues) < 2:
            return list(self._queues.values())
        return sorted(self._queues.values(), key=lambda queue: queue.oldest().seq)

    def _expire(self, now: float) -> None:
        if now < self._admission.earliest:
            return
        while (entry := self._admission.pop_expired(now)) is not None:
            self._actions.append(
                Reject(entry.request.id, "deadline", self._admission.retry_after(now))
            )
            self._end(entry)

    def _settle(self, now: float) -> None:
        """Time alone changes two things: unseen prefills end, and leaders run out of patience."""
        for backend in self._fleet.all:
            due = backend.next_settle()
            if due is not None and due <= now:
                self._open(backend.id)
                self._rerank(backend.settle(now))
        for queue in self._queues.values():
            for leader in list(queue.leaders()):
                late = now >= leader.dispatched_at + self._config.follower_max_seconds
                if late or leader.computed:
                    self._release_followers(leader)

    def _release_followers(self, leader: Entry) -> None:
        if (queue := self._queues.get(leader.request.model)) is not None:
            queue.release(leader, self._view)

    # Decisions

    def _serve(self, queue: WaitQueue, now: float) -> None:
        """Dispatch from one queue until no backend wants more or nobody can go."""
        wanting = self._choice.wanting(queue)
        if not wanting:
            return
        tried: dict[Entry, None] = {}
        deferred: list[Entry] = []
        while wanting:
            first = queue.first([None, *wanting], self._view, tried)
            if first is None:
                break
            entry, overdue = first
            placed = self._choice.place(entry, wanting, anywhere=overdue)
            if overdue:
                tried[entry] = None
                placed.reason = placed.reason and "overdue"
            if not self._carry_out(queue, entry, placed, wanting, now):
                queue.take(entry)
                tried[entry] = None
                deferred.append(entry)
        for entry in deferred:
            queue.park(entry, None, self._view)
        self._feed_hungry(queue, wanting, now)

    def _feed_hungry(self, queue: WaitQueue, wanting: dict[str, Backend], now: float) -> None:
        """A backend with nothing to do takes the oldest of those that wait for a busier one."""
        for backend in [b for b in wanting.values() if b.hungry]:
            elders = queue.elders(self._view)
            entry = next((e for e in elders if self._choice.may_move(e, backend)), None)
            if entry is not None:
                self._dispatch(entry, Placed(backend, reason="moved"), now)

    def _carry_out(
        self,
        queue: WaitQueue,
        entry: Entry,
        placed: Placed,
        wanting: dict[str, Backend],
        now: float,
    ) -> bool:
        """Do what was decided about one entry; False if it must look again at the next event."""
        if placed.leader is not None:
            queue.hold(entry, placed.leader)
        elif placed.backend is None:
            return False
        elif placed.reason:
            self._dispatch(entry, placed, now)
            if not placed.backend.wants_more():
                wanting.pop(placed.backend.id, None)
        else:
            queue.park(entry, placed.backend.id, self._view)
            if placed.full:
                queue.close(placed.backend.id, entry)
                wanting.pop(placed.backend.id, None)
        return True

    def _dispatch(self, entry: Entry, placed: Placed, now: float) -> None:
        backend = placed.backend
        assert backend is not None
        assert entry.line is not None
        self.policy.dispatched(entry.request, backend, self._view)
        waited = now - entry.request.arrived_at
        self._waits.add(waited)
        entry.line.waits.add(waited)
        self._dequeue(entry)
        self._admission.served(now)
        entry.cached = entry.match.get(backend.id, 0)
        self._rerank(backend.launch(entry, now))
        reason = "direct" if entry is self._arriving else placed.reason
        self._actions.append(Dispatch(entry.request.id, backend.id, entry.cached, waited, reason))

    def _in_flight(self, id: str) -> Entry | None:
        entry = self._entries.get(id)
        return None if entry is None or entry.waiting else entry
