"""Where one request should go now, or what it should wait for."""

from __future__ import annotations

import random
from collections.abc import Sequence

from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.entry import Entry
from paceline.scheduler.estimates import Mean
from paceline.scheduler.fleet import Backend, Fleet
from paceline.scheduler.placed import Placed
from paceline.scheduler.policy import Policy
from paceline.scheduler.types import Request

REASONS = {
    "direct": "it did not have to wait",
    "warm": "its prefix is cached there",
    "cold": "its turn came; nothing of it is cached",
    "leader": "it computes the prefix that others wait for",
    "follower": "its leader had computed their prefix",
    "overdue": "it had waited too long",
    "moved": "a backend had nothing to do",
    "retry": "another backend had failed it",
}
"""Why a request was dispatched when it was."""
REQUEST_COST = 64
"""Prefill tokens that one more running request is worth in placement: what a decode step of an 8B
model takes longer for one more sequence (about 0.1 ms) over some tens of steps."""
OWN_WORK = 2
"""Weight of a request's own uncached tokens against those queued before it: the queue delays this
request alone, computing a prefix again delays whoever comes after too."""
SLACK = 4
"""Requests by which a backend may always exceed the bounded load: small counts are noise."""


class View:
    """The implementation of `policy.View`."""

    def __init__(
        self, entries: dict[str, Entry], backends: Sequence[Backend], rng: random.Random
    ) -> None:
        self.now = 0.0
        self.rng = rng
        self.backends = backends
        self.waits = Mean(0.0)
        self.placing: Request | None = None
        """The request that the policy is asked to place."""
        self.there: dict[str, int] = {}
        """Tokens of its prompt that are cached or being computed, by backend: looked up once."""
        self._entries = entries

    @property
    def mean_wait(self) -> float:
        """Seconds."""
        return self.waits.value

    def cached(self, request: Request, backend: Backend | None = None) -> int:
        """Tokens of the prompt believed to be cached there, or where there are most."""
        match = self._entries[request.id].match
        if backend is not None:
            return match.get(backend.id, 0)
        return max(match.values(), default=0)

    def cost(self, request: Request, backend: Backend) -> float:
        """Prefill tokens queued there plus, doubled, this prompt's uncached ones, plus what the
        running requests are worth, at the measured rate; what is computed there now is cached."""
        there = self.there
        if request is not self.placing:
            cached, _ = backend.cache.upcoming(self._entries[request.id])
            there = {backend.id: cached}
        return _costs(request.prompt_tokens, there, (backend,))[0]

    def cheapest(self, request: Request) -> Backend | None:
        """Where it costs least of `backends`; the first of several."""
        backends = self.backends
        if len(backends) < 2:
            return backends[0] if backends else None
        there = self.there if request is self.placing else _there(self._entries[request.id])
        costs = _costs(request.prompt_tokens, there, backends)
        return backends[costs.index(min(costs))]


class Choice:
    """Applies the rules about backends that hold under every policy, then asks the policy."""

    def __init__(self, config: SchedulerConfig, policy: Policy, fleet: Fleet, view: View) -> None:
        self._config = config
        self._policy = policy
        self._fleet = fleet
        self._view = view

    def wanting(self, model: str) -> list[Backend]:
        """The backends for requests of `model` that are below their feed target."""
        return [backend for backend in self._fleet.serving(model) if backend.wants_more()]

    def place(self, entry: Entry, wanting: list[Backend], anywhere: bool = False) -> Placed:
        """Decide about one request; with `anywhere` it is not tied to a warm but busy backend, and
        waits for no turn of this proxy's."""
        view, request = self._view, entry.request
        there = _there(entry) if self._fleet.late else entry.match
        candidates = self._candidates(entry, wanting)
        if len(wanting) < len(self._fleet.all) and not anywhere:
            warm = self._warmest(entry, there)
            if warm is not None and warm not in wanting:
                candidates = _as_warm(candidates, there, there[warm.id])
                if not candidates:
                    return Placed(None, self._leader(entry, warm), warm)
        view.backends, view.there, view.placing = candidates, there, request
        backend = self._policy.place(request, view)
        view.backends, view.placing = self._fleet.all, None
        if backend is None:
            return Placed()
        if backend.spec.leader_first and (leader := self._leader(entry, backend)) is not None:
            return Placed(None, leader)
        if not backend.fits(entry, anywhere or backend.turn_at <= view.now):
            return Placed(None, None, backend, backend)
        return Placed(backend)

    def may_move(self, entry: Entry, backend: Backend) -> bool:
        """Whether this idle backend may take over one that waits: not if its leader runs there."""
        leader = entry.held_by
        return entry.avoid != backend.id and (leader is None or leader.backend != backend.id)

    def _candidates(self, entry: Entry, wanting: list[Backend]) -> list[Backend]:
        """Those wanting more, but for the overloaded (by their measured share of the work) and, if
        there are others, who failed it."""
        every = wanting
        if entry.avoid and len(self._fleet.serving(entry.request.model)) > 1:
            every = [b for b in every if b.id != entry.avoid]
        if len(every) < 2:
            return every
        load, rate = 0, 0.0
        for b in every:
            load += len(b.in_flight)
            rate += b.prefill_rate.value
        bound = self._config.load_factor * load / rate
        return [b for b in every if len(b.in_flight) <= bound * b.prefill_rate.value + SLACK]

    def _warmest(self, entry: Entry, there: dict[str, int]) -> Backend | None:
        """Of the backends that may serve it, the one where most of its prefix is cached or being
        computed."""
        best: Backend | None = None
        most = 0
        for id, tokens in there.items():
            if tokens > most and id != entry.avoid:
                backend = self._fleet.by_id[id]
                if backend.spec.serves(entry.request.model):
                    best, most = backend, tokens
        return best

    def _leader(self, entry: Entry, backend: Backend) -> Entry | None:
        """Who computes a long enough part of this prompt there at this moment."""
        if not backend.spec.leader_first:
            return None
        upcoming, leader = backend.cache.upcoming(entry)
        shared = upcoming - entry.match.get(backend.id, 0)
        if leader is None or shared < self._config.follower_min_tokens:
            return None
        late = self._view.now >= leader.dispatched_at + self._config.follower_max_seconds
        return None if late else leader

    def reason(self, entry: Entry, backend: Backend) -> str:
        """Why an entry that still waits goes there now."""
        if entry.retried:
            return "retry"
        cached = entry.match.get(backend.id, 0)
        if entry.followed:
            return "follower"
        if any(len(node.waiting) > 1 and node.end > cached for node in entry.nodes):
            return "leader"
        return "warm" if cached else "cold"


def _costs(prompt_tokens: int, there: dict[str, int], backends: Sequence[Backend]) -> list[float]:
    """What `View.cost` says, for each backend; `there`: tokens of the prompt by backend."""
    found = []
    for backend in backends:
        running = REQUEST_COST * len(backend.in_flight)
        load = backend.prefill_tokens + running + backend.spec.load_tokens
        uncached = prompt_tokens - there.get(backend.id, 0)
        if uncached > 0:
            load += OWN_WORK * uncached
        found.append(load / backend.prefill_rate.value)
    return found


def _as_warm(backends: list[Backend], there: dict[str, int], tokens: int) -> list[Backend]:
    """Those of the backends that have so many tokens."""
    return [backend for backend in backends if there.get(backend.id, 0) >= tokens]


def _there(entry: Entry) -> dict[str, int]:
    """Tokens of its prompt that are cached or being computed, by backend."""
    there = dict(entry.match)
    for node in entry.nodes:
        for id in node.at:
            if there.get(id, 0) < node.end:
                there[id] = node.end
    return there
