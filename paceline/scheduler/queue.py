"""The waiting queue of one model: lines by priority and share, each in the policy's order.

A decision looks at the first entry of each bucket; all else is O(log n). Of several lines, and
without buckets, `rota` finds the one whose turn it is; with buckets each line is looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Protocol

from paceline.scheduler.entry import Entry
from paceline.scheduler.estimates import Mean
from paceline.scheduler.line import OPEN, Item, Key, Line
from paceline.scheduler.placed import Placed
from paceline.scheduler.policy import Policy, View
from paceline.scheduler.rota import Rota, Round, Turn
from paceline.scheduler.snapshot import QueueSnapshot

Best = tuple[bool, Key, int, Entry]
"""False for its age, which sorts first; key; order of arrival; who."""
RETRIED = float("inf")
"""Tier of a request that comes back after a failure: before all others."""
WINDOW = 256
"""Old requests that a hungry backend may look through in a line."""


class QueueView(View, Protocol):
    """The view, whose mean wait is set to that of the line that is looked at."""

    waits: Mean


class WaitQueue:
    """Entries in the order in which they go."""

    def __init__(self, model: str, policy: Policy) -> None:
        self.model = model
        self._policy = policy
        self._ranked = type(policy).rank is not Policy.rank
        self._bucketed = type(policy).bucket is not Policy.bucket
        self._walks = type(policy).walk is not Policy.walk
        self._rota: Rota | None = None
        """Of the lines, while there are several in which nothing but their order counts."""
        self._lines: dict[tuple[float, str], Line] = {}
        self._held: dict[Entry, list[Entry]] = {}
        """Followers by leader."""
        self.closed: dict[str, Entry] = {}
        """Backends whose next request does not fit: nobody behind it goes there."""

    def __len__(self) -> int:
        return sum(len(line.ages) for line in self._lines.values())

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __iter__(self) -> Iterator[Entry]:
        """Line by line, each in order of arrival."""
        for line in self._lines.values():
            yield from line.ages

    def oldest(self) -> Entry:
        """Who arrived first; there must be somebody."""
        return min((next(iter(line.ages)) for line in self._lines.values()), key=_seq)

    def add(self, entry: Entry, mean_wait: float, view: QueueView) -> None:
        """A new entry; `mean_wait` is what its line starts from if it is the first there."""
        request = entry.request
        tier = RETRIED if entry.retried else request.priority if self._policy.strict else 0.0
        share = self._policy.share(request)
        line = self._lines.get((tier, share))
        if line is None:
            line = self._lines[tier, share] = Line(tier, share, mean_wait)
            self._take_turns(line, view)
        entry.line = line
        line.ages[entry] = None
        self.rank(entry, view)

    def rank(self, entry: Entry, view: QueueView) -> None:
        """Ask the policy about the entry; it is in the open lane afterwards."""
        if self._bucketed:
            entry.bucket = self._policy.bucket(entry.request, view)
        entry.key = self._policy.order(entry.request, view)
        self._place(entry, OPEN, view)

    def remove(self, entry: Entry) -> None:
        """Leave the queue."""
        self._retire(entry)
        line, entry.line = entry.line, None
        assert line is not None
        del line.ages[entry]
        if not line.ages:
            del self._lines[line.tier, line.share]
            if self._rota is not None:
                self._rota.drop(line)

    def first(
        self, lanes: Collection[str], view: QueueView, tried: Collection[Entry]
    ) -> tuple[Entry, bool] | None:
        """Who goes next of those in these lanes, and whether for its age: then it may be in any
        lane but not among the `tried`. Who is found remains where it is."""
        if self._rota is not None and len(self._lines) > 1:
            return self._first_in_turn(self._rota, lanes, view, tried)
        for lines in self._turns(view):
            best: Best | None = None
            for line in lines:
                found = self._best(line, lanes, view, tried)
                if found is not None and (best is None or found < best):
                    best = found
            if best is not None:
                return best[3], not best[0]
        return None

    def elders(self, view: QueueView) -> Iterator[Entry]:
        """Old entries, held ones too, in the order of turns."""
        for lines in self._turns(view):
            for line in lines:
                yield from islice(line.ages, WINDOW)

    def park(self, entry: Entry, lane: str, view: QueueView) -> None:
        """Put an entry in a lane under the key it has; in the open one, so that it is looked at."""
        if lane == OPEN or lane != entry.lane:
            self._place(entry, lane, view)

    def keep(self, entry: Entry, placed: Placed, view: QueueView) -> bool:
        """Let it wait for what was decided; False if it must look again at the next event."""
        if placed.leader is not None:
            self.hold(entry, placed.leader)
        elif placed.busy is not None:
            self.park(entry, placed.busy.id, view)
            if placed.full is not None:
                self.close(placed.full.id, entry)
        else:
            return False
        return True

    def take(self, entry: Entry) -> None:
        """Out of all lanes: it must be removed, parked, held or ranked."""
        self._retire(entry)

    def hold(self, entry: Entry, leader: Entry) -> None:
        """Keep an entry out of all lanes until its leader is released."""
        self._retire(entry)
        entry.held_by = leader
        self._held.setdefault(leader, []).append(entry)

    def release(self, leader: Entry, view: QueueView) -> None:
        """Let the leader's followers go on."""
        for entry in self._held.pop(leader, ()):
            if entry.held_by is leader:
                entry.followed = True
                self._place(entry, OPEN, view)

    def leaders(self) -> Iterable[Entry]:
        """Those for whom somebody is held, the longest first."""
        return self._held

    def close(self, backend: str, first: Entry) -> None:
        """`first` does not fit there: nobody behind it goes there until something changes."""
        self.closed[backend] = first

    def open(self, backend: str) -> None:
        """Something changed at this backend."""
        self.closed.pop(backend, None)

    def merge(self, lane: str, view: QueueView) -> None:
        """Move a lane's entries to the open lane: its backend changed."""
        for line in self._lines.values():
            for entry in line.empty(lane):
                self._place(entry, OPEN, view)

    def snapshot(self, model: str, now: float) -> QueueSnapshot:
        """The state at `now`."""
        return QueueSnapshot(
            model=model,
            waiting=len(self),
            held=sum(entry.held_by is not None for entry in self),
            oldest_seconds=now - self.oldest().request.arrived_at,
        )

    def _take_turns(self, line: Line, view: QueueView) -> None:
        """A line is new: several go by the rota, unless the policy says more than an order."""
        if self._rota is not None:
            self._rota.join(line)
        elif len(self._lines) > 1 and not (self._bucketed or self._ranked or self._walks):
            self._rota = Rota(lambda line: self._turn(line, view))
            for each in self._lines.values():
                self._rota.join(each)

    def _first_in_turn(
        self, rota: Rota, lanes: Collection[str], view: QueueView, tried: Collection[Entry]
    ) -> tuple[Entry, bool] | None:
        for round in rota:
            if (entry := self._overdue(rota, round, view, tried)) is not None:
                return entry, True
            while (head := round.first(lanes)) is not None:
                if rota.stays(head[4]):
                    return head[3], False
        return None

    def _overdue(
        self, rota: Rota, round: Round, view: QueueView, tried: Collection[Entry]
    ) -> Entry | None:
        """Who arrived first of those that are overdue, among the lines that are asked."""
        found: list[Entry] = []
        for line in round.some():
            entry = line.oldest(tried)
            if entry is not None and rota.stays(line):
                view.waits = line.waits
                if self._policy.overdue(entry.request, view):
                    found.append(entry)
        return min(found, key=_seq, default=None)

    def _turns(self, view: QueueView) -> Iterable[Collection[Line]]:
        """Lines that may go together, those whose turn it is first."""
        lines = self._lines.values()
        return (lines,) if len(lines) == 1 else self._in_turn(lines, view)

    def _in_turn(self, lines: Iterable[Line], view: QueueView) -> Iterator[list[Line]]:
        turns = {line: self._turn(line, view) for line in lines}
        while turns:
            now = min(turns.values())
            yield [line for line, turn in turns.items() if turn == now]
            turns = {line: turn for line, turn in turns.items() if turn != now}

    def _turn(self, line: Line, view: QueueView) -> Turn:
        return -line.tier, self._policy.turn(line.share, view)

    def _best(
        self, line: Line, lanes: Collection[str], view: QueueView, tried: Collection[Entry]
    ) -> Best | None:
        """The oldest if it is overdue, or else the first in order."""
        view.waits = line.waits
        entry = line.oldest(tried)
        if entry is not None and self._policy.overdue(entry.request, view):
            return False, (), entry.seq, entry
        item: Item | None
        if self._walks and (walk := self._policy.walk(view)) is not None:
            item = line.along(walk, lanes)
        elif self._ranked:
            heads = line.heads(lanes)
            return min([(True, self._now(h[3], view), h[1], h[3]) for h in heads], default=None)
        else:
            item = line.first(lanes)
        return None if item is None else (True, item[0], item[1], item[3])

    def _now(self, entry: Entry, view: QueueView) -> Key:
        return self._policy.rank(entry.request, view) if self._ranked else entry.key

    def _before(self, entry: Entry, other: Entry, view: QueueView) -> bool:
        """Whether the entry goes before the other one at this instant, but for their age."""
        assert entry.line is not None
        assert other.line is not None
        if entry.line is not other.line:
            mine, its = self._turn(entry.line, view), self._turn(other.line, view)
            if mine != its:
                return mine < its
        return (self._now(entry, view), entry.seq) < (self._now(other, view), other.seq)

    def _place(self, entry: Entry, lane: str, view: QueueView) -> None:
        if entry.lane is not None or entry.held_by is not None:
            self._retire(entry)
        assert entry.line is not None
        entry.line.push(entry, lane)
        if lane == OPEN and self.closed:
            passed = [b for b, first in self.closed.items() if self._before(entry, first, view)]
            for backend in passed:
                del self.closed[backend]

    def _retire(self, entry: Entry) -> None:
        """Make the entry's heap item, if any, stale; amortised O(1), and memory follows the live
        entries."""
        entry.version += 1
        entry.lane = None
        entry.held_by = None
        if self.closed:
            for backend in [b for b, first in self.closed.items() if first is entry]:
                del self.closed[backend]
        assert entry.line is not None
        entry.line.forget()


def _seq(entry: Entry) -> int:
    return entry.seq
