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
6. While nobody waits, an arrival is placed and sent without entering a queue, to the same effect.
7. What another proxy sent takes room and may lead; no policy and no limit counts it. Where its
   request was the last to start, that proxy goes first for a moment, but for what is overdue and
   what fits beside as much from each proxy.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from paceline.scheduler.choice import Choice, View
from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.entry import Entry
from paceline.scheduler.estimates import OutputLengths
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
    ProxiesChanged,
    Reject,
    Sent,
    Tick,
)
from paceline.scheduler.fleet import Backend, Fleet
from paceline.scheduler.line import OPEN
from paceline.scheduler.policy import Policy
from paceline.scheduler.queue import WaitQueue
from paceline.scheduler.snapshot import Snapshot
from paceline.scheduler.trie import PrefixTrie
from paceline.scheduler.types import Keys, Request
from paceline.scheduler.waiting import Waiting


class Scheduler:
    """Holds, orders and places requests. Not thread-safe; `now` must not go backwards."""

    def __init__(
        self, config: SchedulerConfig, policy: Policy, seed: int = 0, trie: PrefixTrie | None = None
    ) -> None:
        self.policy = policy
        self._config = config
        self._trie = PrefixTrie() if trie is None else trie
        self._fleet = Fleet(config, self._trie)
        self._backends = self._fleet.by_id
        self._entries: dict[str, Entry] = {}
        self._outputs = OutputLengths(config.output_tokens)
        self._view = View(self._entries, self._fleet.all, random.Random(seed))
        self._choice = Choice(config, policy, self._fleet, self._view)
        self._waiting = Waiting(config, policy, self._fleet, self._trie, self._view)
        self._admission = self._waiting.admission
        self._mean = self._waiting.mean
        self._seq = 0
        self._arriving: Entry | None = None
        self._actions: list[Action] = []
        self._take: dict[type[Event], Callable[[Any, float], None]] = {
            Arrived: self._arrive,
            Sent: self._hear,
            ProxiesChanged: self._share,
            Cancelled: self._cancel,
            FirstByte: self._first_byte,
            Finished: self._finish,
            Failed: self._fail,
            BackendChanged: self._change,
            BackendRemoved: self._remove,
            BackendReset: self._reset,
            CacheReported: self._cache,
            LoadReported: self._report,
            Tick: self._tick,
        }

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take one event at time `now` (seconds); returns what to do, in this order."""
        actions = self._actions = []
        self._view.now = now
        self._take[type(event)](event, now)
        if self._admission.waiting:
            self._go_on(now)
        else:
            self._waiting.settle(now)
        return actions

    def use(self, policy: Policy, now: float) -> list[Action]:
        """Order and place by another policy from now on, those who wait already too."""
        self._view.now = now
        self.policy = policy
        self._choice = Choice(self._config, policy, self._fleet, self._view)
        for entry in self._waiting.use(policy):
            policy.entered(entry.request, self._view)
            self._waiting.line_up(entry)
        return self.handle(Tick(), now)

    def deadline(self) -> float | None:
        """When to send a `Tick` if nothing else happens before; None for never."""
        return self._waiting.deadline() if self._admission.waiting else None

    def retry_after(self, now: float) -> float:
        """Seconds after which a client that is refused at `now` should try again."""
        return self._admission.retry_after(now)

    def snapshot(self, now: float) -> Snapshot:
        """The state at `now`, for people and metrics."""
        backends = [backend.snapshot() for backend in self._fleet]
        return Snapshot(
            waiting=self._admission.waiting,
            waiting_tokens=self._admission.waiting_tokens,
            in_flight=sum(backend.in_flight - backend.peers for backend in backends),
            mean_wait_seconds=self._waiting.mean.value,
            trie_nodes=self._trie.nodes,
            trie_blocks=self._trie.blocks,
            queues=[q.snapshot(model, now) for model, q in self._waiting.queues.items()],
            backends=backends,
        )

    def parts(self) -> tuple[Mapping[str, Entry], Mapping[str, WaitQueue], Fleet]:
        """All requests by id, the queues by model, the backends: to be looked at, always these."""
        return self._entries, self._waiting.queues, self._fleet

    def __repr__(self) -> str:
        waiting = self._admission.waiting
        return f"<Scheduler [{waiting} waiting, {len(self._entries) - waiting} in flight]>"

    # Events

    def _arrive(self, event: Arrived, now: float) -> None:
        request = event.request
        if request.id in self._entries:
            raise ValueError(f"request id {request.id!r} is in use")
        wanting = self._calm(request, now)
        if not wanting and (refused := self._refuse(request)) is not None:
            self._actions.append(refused)
            return
        entry = self._enter(Entry(request, self._seq))
        self.policy.entered(request, self._view)
        if not (wanting and self._send_at_once(entry, wanting, now)):
            self._arriving = entry
            self._waiting.add(entry)

    def _hear(self, event: Sent, now: float) -> None:
        if event.request.id not in self._entries and event.backend in self._fleet:
            entry = self._enter(Entry(event.request, self._seq, peers=True))
            self._waiting.rerank(self._backends[event.backend].launch(entry, now))

    def _share(self, event: ProxiesChanged, now: float) -> None:
        for backend in self._fleet.share(event.proxies):
            self._waiting.open(backend.id)

    def _enter(self, entry: Entry) -> Entry:
        """It has an id and a place in the trie from now on."""
        request = entry.request
        self._entries[request.id] = entry
        self._seq += 1
        expected = self._outputs.expect(request.model, request.tenant, request.max_tokens)
        entry.output_tokens = expected * request.n
        self._trie.add(entry)
        if request.exact:
            self._fleet.recognise(entry)
        return entry

    def _refuse(self, request: Request) -> Reject | None:
        if not self._fleet.knows(request.model):
            return Reject(request.id, "unknown_model")
        refused = self._admission.refuse(request)
        if refused is None:
            return None
        victims = self._admission.victims(request)
        for victim in victims:
            self._reject(victim, "shed", refused.retry_after)
        why = self._why(request.model, refused.reason)
        return None if victims else Reject(refused.id, why, refused.retry_after)

    def _reject(self, entry: Entry, reason: str, retry_after: float) -> None:
        """It has waited in vain."""
        why = self._why(entry.request.model, reason)
        self._actions.append(Reject(entry.request.id, why, retry_after))
        self._end(entry)

    def _why(self, model: str, reason: str) -> str:
        """The reason; where no backend serves the model now, that is the reason."""
        return reason if self._fleet.serving(model) else "no_backend"

    def _cancel(self, event: Cancelled, now: float) -> None:
        self._end(self._entries.get(event.id))

    def _first_byte(self, event: FirstByte, now: float) -> None:
        entry = self._in_flight(event.id)
        if entry is None:
            return
        if event.took is not None:
            entry.dispatched_at = now - event.took
        changed = self._backends[entry.backend].first_byte(entry, now)
        if self._admission.waiting:
            self._waiting.open(entry.backend)
            self._waiting.rerank(changed)
            self._waiting.release(entry)

    def _finish(self, event: Finished, now: float) -> None:
        entry = self._entries.get(event.id)
        if entry is None or entry.waiting:
            return
        if event.took is not None:
            entry.dispatched_at = now - event.took
        request, usage = entry.request, event.usage
        output_tokens = usage.output_tokens
        if output_tokens is None:
            output_tokens = entry.output_tokens
        else:
            self._outputs.add(request.model, request.tenant, output_tokens // request.n)
        if not entry.peers:
            self.policy.finished(request, output_tokens)
        cached = usage.cached_tokens
        if cached is not None and cached < entry.cached:
            self._waiting.rerank(self._backends[entry.backend].cache.missed(entry, usage))
        del self._entries[request.id]
        self._land(entry, output_tokens, event.prefix)

    def _fail(self, event: Failed, now: float) -> None:
        if not event.retry:
            self._end(self._entries.get(event.id))
        elif (entry := self._in_flight(event.id)) is not None:
            self._retry(entry)

    def _retry(self, entry: Entry) -> None:
        """Back to the head of the queue, for another backend."""
        entry.avoid = entry.backend
        entry.waiting = True
        self._land(entry, None)
        entry.computed = False
        self._trie.match(entry)
        if entry.request.exact:
            self._fleet.recognise(entry)
        self.policy.entered(entry.request, self._view)
        self._waiting.add(entry)

    def _report(self, event: LoadReported, now: float) -> None:
        if event.id in self._fleet:
            self._waiting.open(event.id)
            self._backends[event.id].report(event.waiting, now, event.asked_at)

    def _cache(self, event: CacheReported, now: float) -> None:
        if event.id in self._fleet:
            self._waiting.rerank(self._backends[event.id].cache.tell(event))

    def _change(self, event: BackendChanged, now: float) -> None:
        self._waiting.rerank(self._fleet.put(event.backend))
        self._waiting.reopen(event.backend.id)

    def _reset(self, event: BackendReset, now: float) -> None:
        if event.id in self._fleet:
            self._waiting.rerank(self._backends[event.id].cache.forget())
            self._waiting.reopen(event.id)

    def _remove(self, event: BackendRemoved, now: float) -> None:
        if event.id in self._fleet:
            for entry in list(self._backends[event.id].in_flight):
                self._end(entry)
            self._waiting.rerank(self._fleet.remove(event.id))
            self._waiting.reopen(event.id)

    def _tick(self, event: Tick, now: float) -> None:
        """What time alone changes is looked after at every event."""

    def _expire(self, now: float) -> None:
        while (entry := self._admission.pop_expired(now)) is not None:
            self._reject(entry, "deadline", self._admission.retry_after(now))

    # Where a request is

    def _in_flight(self, id: str) -> Entry | None:
        entry = self._entries.get(id)
        return None if entry is None or entry.waiting else entry

    def _end(self, entry: Entry | None) -> None:
        """The request is over without an answer."""
        if entry is None:
            return
        del self._entries[entry.request.id]
        if entry.waiting:
            self.policy.left(entry.request, self._view)
            self._waiting.remove(entry)
            entry.waiting = False
            self._trie.drop(entry)
        else:
            self._land(entry, None)

    def _land(self, entry: Entry, output: int | None, answered: Keys = ()) -> None:
        """It left its backend; with `output` tokens its KV stays in the cache there."""
        if self._admission.waiting:
            self._waiting.release(entry)
            self._waiting.open(entry.backend)
        backend = self._backends[entry.backend]
        if changed := backend.land(entry, self._view.now, output, answered):
            self._waiting.rerank(changed)

    # Decisions

    def _calm(self, request: Request, now: float) -> list[Backend]:
        """Where this arrival may be sent at once; nowhere if it competes with somebody."""
        admission = self._admission
        if admission.waiting or not self._config.max_waiting or admission.expiry(request) <= now:
            return []
        self._waiting.settle(now)
        return self._choice.wanting(request.model)

    def _send_at_once(self, entry: Entry, wanting: list[Backend], now: float) -> bool:
        """As `_serve` does with a queue of one; False if it has to wait."""
        self._view.waits = self._mean
        overdue = self.policy.overdue(entry.request, self._view)
        backend = self._choice.place(entry, wanting, overdue).to
        if backend is not None:
            self._dispatch(entry, backend, "direct", now)
        return backend is not None

    def _go_on(self, now: float) -> None:
        """Somebody waits: look who need not any longer."""
        if self._admission.earliest <= now:
            self._expire(now)
        self._waiting.settle(now)
        self._waiting.release_late(now)
        for queue in self._waiting.busy():
            self._serve(queue, now)
        self._arriving = None

    def _serve(self, queue: WaitQueue, now: float) -> None:
        """Dispatch from one queue until no backend wants more or nobody can go."""
        wanting = {b.id: b for b in self._choice.wanting(queue.model) if b.id not in queue.closed}
        if not wanting:
            return
        tried: dict[Entry, None] = {}
        deferred: list[Entry] = []
        while wanting:
            first = queue.first([OPEN, *wanting], self._view, tried)
            if first is None:
                break
            entry, overdue = first
            placed = self._choice.place(entry, list(wanting.values()), overdue)
            if overdue:
                tried[entry] = None
            if placed.to is not None:
                reason = "overdue" if overdue else self._choice.reason(entry, placed.to)
                self._dispatch(entry, placed.to, reason, now)
                if not placed.to.wants_more():
                    wanting.pop(placed.to.id, None)
            elif not queue.keep(entry, placed, self._view):
                queue.take(entry)
                tried[entry] = None
                deferred.append(entry)
            elif placed.full is not None:
                wanting.pop(placed.full.id, None)
        for entry in deferred:
            queue.park(entry, OPEN, self._view)
        self._feed_hungry(queue, wanting, now)

    def _feed_hungry(self, queue: WaitQueue, wanting: dict[str, Backend], now: float) -> None:
        """A backend with nothing to do takes the oldest of those that wait for a busier one."""
        for backend in [b for b in wanting.values() if b.hungry and b.turn_at <= now]:
            elders = queue.elders(self._view)
            entry = next((e for e in elders if self._choice.may_move(e, backend)), None)
            if entry is not None:
                self._dispatch(entry, backend, "moved", now)

    def _dispatch(self, entry: Entry, backend: Backend, reason: str, now: float) -> None:
        request = entry.request
        self.policy.dispatched(request, backend, self._view)
        waited = now - request.arrived_at
        self._mean.add(waited)
        self.policy.left(request, self._view)
        if entry.line is not None:
            entry.line.waits.add(waited)
            self._waiting.remove(entry)
            if entry is self._arriving:
                reason = "direct"
        self._admission.served(now)
        if changed := backend.launch(entry, now):
            self._waiting.rerank(changed)
        self._actions.append(Dispatch(request.id, backend.id, entry.cached, waited, reason))
