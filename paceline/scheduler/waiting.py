"""All that waits: the queues by model, and what keeps them up to date as things change."""

from __future__ import annotations

from math import inf

from paceline.scheduler.admission import Admission
from paceline.scheduler.choice import View
from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.entry import Entries, Entry
from paceline.scheduler.estimates import Mean
from paceline.scheduler.fleet import Fleet
from paceline.scheduler.line import OPEN
from paceline.scheduler.policy import Policy
from paceline.scheduler.queue import WaitQueue
from paceline.scheduler.trie import PrefixTrie


class Waiting:
    """The waiting requests of all models. A queue is there only while somebody waits in it."""

    def __init__(
        self, config: SchedulerConfig, policy: Policy, fleet: Fleet, trie: PrefixTrie, view: View
    ) -> None:
        self.admission = Admission(config)
        self.queues: dict[str, WaitQueue] = {}
        """By model."""
        self.mean = Mean(0.0)
        """Seconds that requests waited of late, those that did not have to included."""
        self._settled_at = -inf
        self._patience = config.follower_max_seconds
        self._policy = policy
        self._fleet = fleet
        self._trie = trie
        self._view = view

    def add(self, entry: Entry) -> None:
        """A request that the policy knows of begins to wait."""
        entry.wait()
        self.admission.enter(entry)
        self._trie.wait(entry)
        self.line_up(entry)

    def line_up(self, entry: Entry) -> None:
        """Give it its place in the order."""
        model = entry.request.model
        queue = self.queues.get(model)
        if queue is None:
            queue = self.queues[model] = WaitQueue(model, self._policy)
        queue.add(entry, self.mean.value, self._view)

    def remove(self, entry: Entry) -> None:
        """It no longer waits."""
        self.admission.leave(entry)
        queue = self.queues[entry.request.model]
        queue.remove(entry)
        if not queue:
            del self.queues[entry.request.model]
        self._trie.leave(entry)

    def use(self, policy: Policy) -> list[Entry]:
        """Order by another policy: those who wait, by arrival, must line up again."""
        self._policy = policy
        entries = [entry for queue in self.queues.values() for entry in queue]
        self.queues.clear()
        return sorted(entries, key=lambda entry: entry.seq)

    def rerank(self, changed: Entries) -> None:
        """What is cached of these prompts changed."""
        if not changed:
            return
        again = self._policy.ranks == "on_match"
        for entry in changed:
            if entry.waiting and entry.held_by is None:
                queue = self.queues[entry.request.model]
                if again:
                    queue.rank(entry, self._view)
                else:
                    queue.park(entry, OPEN, self._view)

    def busy(self) -> list[WaitQueue]:
        """The queues, the one with the oldest request first."""
        if len(self.queues) < 2:
            return list(self.queues.values())
        return sorted(self.queues.values(), key=lambda queue: queue.oldest().seq)

    def open(self, backend: str) -> None:
        """Something changed there: what did not fit may now."""
        for queue in self.queues.values():
            queue.open(backend)

    def reopen(self, backend: str) -> None:
        """Let those that wait for this backend look around again."""
        for queue in self.queues.values():
            queue.open(backend)
            queue.merge(backend, self._view)

    def release(self, leader: Entry) -> None:
        """The followers of this one, if any, need not wait for it any longer."""
        queue = self.queues.get(leader.request.model)
        if queue is not None:
            queue.release(leader, self._view)

    def settle(self, now: float) -> None:
        """Count prefills that nobody sees end as done once their time is past.

        What begins at an instant does not end at the same.
        """
        if now == self._settled_at:
            return
        if self._fleet.proxies > 1:
            self._turn(now)
        self._settled_at = now
        for backend in self._fleet.all:
            if backend.settles_at <= now:
                changed = backend.settle(now)
                if self.queues:
                    self.open(backend.id)
                    self.rerank(changed)

    def _turn(self, now: float) -> None:
        """Where the moment of the proxy that went first is over, others may."""
        for backend in self._fleet.all:
            if self._settled_at < backend.turn_at <= now:
                self.open(backend.id)

    def release_late(self, now: float) -> None:
        """Followers run out of patience with a leader that shows no sign of life."""
        for queue in self.queues.values():
            for leader in list(queue.leaders()):
                if leader.computed or now >= leader.dispatched_at + self._patience:
                    self.release(leader)

    def deadline(self) -> float:
        """When time alone changes something about those that wait; there must be somebody."""
        soonest = self.admission.next_expiry()
        for queue in self.queues.values():
            for leader in queue.leaders():
                late = leader.dispatched_at + self._patience
                if late < soonest:
                    soonest = late
        for backend in self._fleet.all:
            if backend.settles_at < soonest:
                soonest = backend.settles_at
            if self._view.now < backend.turn_at < soonest:
                soonest = backend.turn_at
        return soonest
