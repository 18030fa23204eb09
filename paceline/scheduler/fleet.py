"""The backends as the scheduler sees them: what each is doing and whether it wants more."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from math import inf

from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.entry import Entries, Entry
from paceline.scheduler.estimates import Mean
from paceline.scheduler.events import CacheReported
from paceline.scheduler.residency import Residency
from paceline.scheduler.snapshot import BackendSnapshot
from paceline.scheduler.trie import PrefixTrie
from paceline.scheduler.types import BackendSpec, Keys

PREFILL_RATE = 20_000.0
"""Prefill tokens a second assumed until measured: an 8B model on an A100-class GPU."""
RATE_STEP = 1.5
"""How much one load report that contradicts the prefill rate changes it: an engine 20 times slower
than assumed is known after 8 reports, 4 s."""

TURN_SECONDS = 0.05
"""How long a backend that has run out of work is left to the proxy that fed it last: some ten times
as long as the others need to hear of large work (docs/fleet.md)."""
UNSTARTED = 0
STARTED = 1
ANSWERING = 2
"""Stages of a request in flight: it waits there or prefills; it is believed to have done so, though
no byte was seen; a byte was."""


class Backend:
    """One engine: its facts, its cache and the requests in flight there."""

    def __init__(self, spec: BackendSpec, cache: Residency, config: SchedulerConfig) -> None:
        self.cache = cache
        self.in_flight: dict[Entry, int] = {}
        """With their stages, in order of dispatch."""
        self.unstarted = 0
        """Requests sent and neither answering nor known to run: they wait there or prefill."""
        self.prefill_tokens = 0
        """Uncached prompt tokens sent and not known to be computed."""
        self.prefill_rate = Mean(PREFILL_RATE)
        """Measured prefill tokens a second."""
        self._config = config
        self.blind: OrderedDict[Entry, None] = OrderedDict()
        """In-flight requests that show no first byte before their end, until `settle` counts them
        as computed; they leave when they end, however late their estimate."""
        self.settles_at = inf
        """When `settle` changes something: the estimate of the first that is `blind`."""
        self._clear_at = 0.0
        self.proxies = 1
        """How many feed it."""
        self.turn_at = 0.0
        """Until then the proxy that fed it last goes first; past if that is this one."""
        self.id = spec.id
        self.spec = spec
        self.update(spec)

    @property
    def hungry(self) -> bool:
        """Nothing waits there: holding a request back would idle the engine."""
        return not self.unstarted

    @property
    def kv_room(self) -> int | None:
        """Tokens of the pool that requests in flight do not need; None when the pool is unknown."""
        capacity = self.cache.capacity
        return None if capacity is None else capacity - self.cache.flying_tokens

    def update(self, spec: BackendSpec) -> Entries:
        """Take over new facts; a smaller pool holds less."""
        self.spec = spec
        config = self._config
        chunks = config.late_feed_chunks if spec.leader_first else config.feed_chunks
        self._feed_tokens = spec.chunk_tokens * chunks
        self._slots = inf if spec.max_running is None else spec.max_running
        return self.cache.resize(spec.kv_tokens)

    def wants_more(self) -> bool:
        """Below its feed target: too little uncached work there to fill its next steps.

        Beyond those that run at once, it is sent one to wait there."""
        if self.unstarted:
            return self.prefill_tokens < self._feed_tokens and len(self.in_flight) < self._slots
        return len(self.in_flight) <= self._slots

    def fits(self, entry: Entry, turn: bool = True) -> bool:
        """Whether its work fits into the feed target, and its KV beside that of those in flight.

        With nothing waiting there anything fits, in this proxy's `turn`. Work counts for each proxy
        once: the others send as much at the same time, which is heard of too late.
        """
        if turn and not self.unstarted:
            return True
        work = entry.request.prompt_tokens - entry.match.get(self.id, 0)
        if self.prefill_tokens + work * self.proxies > self._feed_tokens:
            return False
        capacity, cache = self.cache.capacity, self.cache
        return capacity is None or cache.flying_tokens + cache.new_tokens(entry) <= capacity

    def launch(self, entry: Entry, now: float) -> Entries:
        """Send the request here; returns the waiting entries whose match changed."""
        entry.backend = self.id
        entry.waiting = False
        entry.dispatched_at = now
        request = entry.request
        cached = entry.cached = entry.match.get(self.id, 0)
        work = request.prompt_tokens - cached
        entry.prefill_tokens = work if work > 0 else 1
        self._queue(entry, now)
        if not request.streaming:
            if not self.blind:
                self.settles_at = entry.starts_at
            self.blind[entry] = None
        return self.cache.launch(entry, self.spec.leader_first)

    def first_byte(self, entry: Entry, now: float) -> Entries:
        """The prompt is computed, and so are earlier ones whose first byte cannot be seen."""
        if self.in_flight[entry] == UNSTARTED:
            took = now - entry.dispatched_at
            # A little work measures latency.
            if entry.work >= self.spec.chunk_tokens // 8 and took > 0:
                self.prefill_rate.add(entry.work / took)
            changed = self._computed(entry, now)
        else:
            changed = {} if entry.computed else self.cache.computed(entry)
        self.in_flight[entry] = ANSWERING
        return changed

    def settle(self, now: float) -> Entries:
        """Count those whose first byte cannot be seen as computed once their time is past."""
        changed: Entries = {}
        while self.settles_at <= now:
            entry, _ = self.blind.popitem(last=False)
            self._look_ahead()
            self._start(entry, now)
            if not entry.computed:
                changed |= self.cache.computed(entry)
        return changed

    def report(self, waiting: int, now: float, asked_at: float) -> None:
        """The engine told how many of its requests wait: the newest of those it had when asked."""
        stage = self.in_flight
        had = [e for e in stage if stage[e] != ANSWERING and e.dispatched_at < asked_at]
        split = max(0, len(had) - waiting)
        late = [entry for entry in had[:split] if stage[entry] == UNSTARTED]
        early = [entry for entry in had[split:] if stage[entry] == STARTED]
        for entry in late:
            self._start(entry, now)
        if early:
            self.prefill_rate.value /= RATE_STEP
            for entry in early:
                self._queue(entry, now)
            for entry in reversed(early):
                self.blind[entry] = None
                self.blind.move_to_end(entry, last=False)
            self.settles_at = early[0].starts_at
        elif any(not entry.request.streaming for entry in late):
            self.prefill_rate.value *= RATE_STEP

    def land(
        self, entry: Entry, now: float, output_tokens: int | None, answered: Keys = ()
    ) -> Entries:
        """The request left the engine; None for `output_tokens` when it did not finish.

        `answered`: the block keys of its prompt and answer, where they are known."""
        changed: Entries = {}
        if output_tokens is None:
            self._start(entry, now)
        elif self.in_flight[entry] == UNSTARTED:
            changed = self._ended_unseen(entry, now)
        elif not entry.computed:
            changed = self.cache.computed(entry)
        del self.in_flight[entry]
        if entry in self.blind:
            del self.blind[entry]
            self._look_ahead()
        changed |= self.cache.land(entry, output_tokens, answered)
        return changed

    def snapshot(self) -> BackendSnapshot:
        """The state as it is."""
        return BackendSnapshot(
            id=self.id,
            up=self.spec.up,
            draining=self.spec.draining,
            models=list(self.spec.models or ()),
            in_flight=len(self.in_flight),
            peers=sum(entry.peers for entry in self.in_flight),
            unstarted=self.unstarted,
            prefill_tokens=self.prefill_tokens,
            prefill_rate=self.prefill_rate.value,
            kv_tokens=self.spec.kv_tokens,
            kv_room=self.kv_room,
            recent_requests=self.cache.recent,
            exact=self.cache.exact,
        )

    def _queue(self, entry: Entry, now: float) -> None:
        """It waits or prefills there, behind what does already."""
        self.in_flight[entry] = UNSTARTED
        self.unstarted += 1
        work = entry.prefill_tokens
        entry.work = self.prefill_tokens = self.prefill_tokens + work
        begins = now if now > self._clear_at else self._clear_at
        entry.starts_at = self._clear_at = begins + work / self.prefill_rate.value

    def _start(self, entry: Entry, now: float) -> None:
        if self.in_flight[entry] == UNSTARTED:
            self.in_flight[entry] = STARTED
            self.prefill_tokens -= entry.prefill_tokens
            self.unstarted -= 1
            if not self.unstarted:
                self._clear_at = 0.0
                if self.proxies > 1:
                    self.turn_at = now + TURN_SECONDS if entry.peers else 0.0

    def _ended_unseen(self, entry: Entry, now: float) -> Entries:
        """An answer in one piece: its prefill took no longer than all of it."""
        took = now - entry.dispatched_at
        if took > 0 and entry.work / took > self.prefill_rate.value:
            self.prefill_rate.add(entry.work / took)
        return self._computed(entry, now)

    def _computed(self, entry: Entry, now: float) -> Entries:
        """Its prompt is computed, and so are earlier ones whose first byte cannot be seen."""
        self._start(entry, now)
        changed: Entries = {} if entry.computed else self.cache.computed(entry)
        while self.blind and next(iter(self.blind)).dispatched_at < entry.dispatched_at:
            earlier, _ = self.blind.popitem(last=False)
            self._look_ahead()
            self._start(earlier, now)
            if not earlier.computed:
                changed |= self.cache.computed(earlier)
        if self.unstarted:
            self._clear_at = min(
                self._clear_at, now + self.prefill_tokens / self.prefill_rate.value
            )
        return changed

    def _look_ahead(self) -> None:
        """Another one is the first of the `blind`, or nobody."""
        self.settles_at = next(iter(self.blind)).starts_at if self.blind else inf


class Fleet:
    """All backends by name, those that are leaving included."""

    def __init__(self, config: SchedulerConfig, trie: PrefixTrie) -> None:
        self._config = config
        self._trie = trie
        self.by_id: dict[str, Backend] = {}
        self.all: list[Backend] = []
        """The same as iteration gives."""
        self.proxies = 1
        """How many feed the backends."""
        self.late = False
        """Whether a cache was ever to publish late: in others all that is computed is matched."""
        self._serving: dict[str, list[Backend]] = {}
        """By model, as asked for since the last change."""

    def __iter__(self) -> Iterator[Backend]:
        return iter(self.all)

    def __contains__(self, id: str) -> bool:
        return id in self.by_id

    def put(self, spec: BackendSpec) -> Entries:
        """Add a backend, or take over new facts of one."""
        self._serving.clear()
        self.late = self.late or spec.leader_first
        backend = self.by_id.get(spec.id)
        if backend is not None:
            return backend.update(spec)
        cache = Residency(spec.id, self._trie, self._config.recent_requests)
        backend = self.by_id[spec.id] = Backend(spec, cache, self._config)
        backend.proxies = self.proxies
        self.all.append(backend)
        return {}

    def share(self, proxies: int) -> list[Backend]:
        """So many proxies feed the backends; returns these."""
        self.proxies = proxies
        for backend in self.all:
            backend.proxies = proxies
            backend.turn_at = 0.0
        return self.all

    def remove(self, id: str) -> Entries:
        """Forget a backend; what still runs there must have been ended before."""
        backend = self.by_id.pop(id)
        self._serving.clear()
        self.all.remove(backend)
        return backend.cache.tell(CacheReported(id, known=False)) | backend.cache.forget()

    def serving(self, model: str) -> list[Backend]:
        """Those to which a request for `model` may be sent."""
        found = self._serving.get(model)
        if not found:
            found = [b for b in self.all if b.spec.serves(model)]
            if found:  # or anybody's misspelt name would be kept
                self._serving[model] = found
        return found

    def recognise(self, entry: Entry) -> None:
        """Match an entry of exact blocks with what backends told of their caches."""
        for backend in self.all:
            if backend.cache.exact:
                backend.cache.recognise(entry)

    def knows(self, model: str) -> bool:
        """Whether some backend serves the model or has yet to say what it serves."""
        if not model or model in self._serving or not self.by_id:
            return True
        return any(b.spec.models is None or b.spec.has(model) for b in self)
