"""One line of the waiting queue: the requests of one priority and one share, oldest and first.

A line has lanes. Entries that may go anywhere are in the open lane; those that wait for one warm
but busy backend are in that backend's lane, so that a decision never walks over them. A lane
has buckets, each a heap by the policy's key. Followers held for a leader are in no lane. Heap items
go stale when an entry moves, and are skipped when met.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterable, Iterator
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING

from paceline.scheduler.entry import Entry
from paceline.scheduler.estimates import Mean

if TYPE_CHECKING:
    from paceline.scheduler.rota import Round

Key = tuple[float, ...]
Item = tuple[Key, int, int, Entry]
Heap = list[Item]
OPEN = ""
"""The open lane; the others have the name of their backend."""
OLD = 256
"""Entries among which the oldest is looked for."""
WALK = 256
"""Buckets that a policy's own order may pass over because nobody in them can go."""


class Line:
    """Entries of one priority and share."""

    __slots__ = ("_stale", "ages", "lanes", "round", "share", "tier", "waits")

    def __init__(self, tier: float, share: str, mean_wait: float) -> None:
        self.tier = tier
        """Priority, infinite for those that come back after a failure."""
        self.share = share
        self.waits = Mean(mean_wait)
        """Seconds that its entries waited of late."""
        self.ages: OrderedDict[Entry, None] = OrderedDict()
        """In order of arrival. Ordered, because the oldest of a plain dict is found by walking over
        all that was deleted before it."""
        self.lanes: dict[str, dict[Hashable, Heap]] = {}
        self.round: Round | None = None
        """Where several lines wait: those whose turn it is together with this one."""
        self._stale = 0

    def push(self, entry: Entry, lane: str) -> None:
        """Put the entry in a lane under its bucket and key."""
        entry.lane = lane
        buckets = self.lanes.get(lane)
        if buckets is None:
            buckets = self.lanes[lane] = {}
        heap = buckets.get(entry.bucket)
        if heap is None:
            heap = buckets[entry.bucket] = []
        item = (entry.key, entry.seq, entry.version, entry)
        heappush(heap, item)
        if self.round is not None and heap[0] == item:
            self.round.offer(self, lane, item)

    def oldest(self, without: Collection[Entry]) -> Entry | None:
        """The oldest entry that is not held, but for some; None too if many held ones are older."""
        for entry in islice(self.ages, OLD):
            if entry.held_by is None and entry not in without:
                return entry
        return None

    def head(self, lane: str) -> Item | None:
        """The first item in this lane, whatever its bucket."""
        first: Item | None = None
        buckets = self.lanes.get(lane)
        if buckets is not None:
            for heap in buckets.values():
                if _clean(heap) and (first is None or heap[0] < first):
                    first = heap[0]
        return first

    def first(self, lanes: Iterable[str]) -> Item | None:
        """The first item in these lanes."""
        first: Item | None = None
        for lane in lanes:
            item = self.head(lane)
            if item is not None and (first is None or item < first):
                first = item
        return first

    def heads(self, lanes: Iterable[str]) -> list[Item]:
        """The first item of each bucket in these lanes."""
        found: list[Item] = []
        for lane in lanes:
            buckets = self.lanes.get(lane)
            if buckets:
                emptied = []
                for bucket, heap in buckets.items():
                    if _clean(heap):
                        found.append(heap[0])
                    else:
                        emptied.append(bucket)
                for bucket in emptied:
                    del buckets[bucket]
        return found

    def along(self, walk: Iterator[Hashable], lanes: Iterable[str]) -> Item | None:
        """The first item of the first bucket on the walk that has one in these lanes."""
        for bucket in islice(walk, WALK):
            heaps = (self.lanes.get(lane, {}).get(bucket) for lane in lanes)
            firsts = [heap[0] for heap in heaps if heap is not None and _clean(heap)]
            if firsts:
                return min(firsts)
        return None

    def empty(self, lane: str) -> list[Entry]:
        """Take everything out of a lane."""
        heaps = self.lanes.pop(lane, {}).values()
        return [item[3] for heap in heaps for item in heap if item[2] == item[3].version]

    def forget(self) -> None:
        """An item went stale: drop them all in time, so that memory follows the live entries."""
        self._stale += 1
        if self._stale > 64 + 2 * len(self.ages):
            self._stale = 0
            self._compact()

    def _compact(self) -> None:
        for buckets in self.lanes.values():
            for heap in buckets.values():
                heap[:] = [item for item in heap if item[2] == item[3].version]
                heapify(heap)
            for bucket in [bucket for bucket, heap in buckets.items() if not heap]:
                del buckets[bucket]


def _clean(heap: Heap) -> bool:
    """Drop stale items off the top; False when nothing is left."""
    while heap:
        item = heap[0]
        if item[2] == item[3].version:
            return True
        heappop(heap)
    return False
