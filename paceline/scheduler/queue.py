"""The waiting queue of one model: ordered by the policy's key, split in lanes, O(log n) throughout.

A lane is a heap. Entries that may go anywhere are in the open lane (None); those that wait for one
warm but busy backend are in that backend's lane, so that a decision never walks over them.
Followers held for a leader are in no lane. Heap items go stale when an entry moves, and are skipped
when met.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush
from itertools import islice

from paceline.scheduler.entry import Entry
from paceline.scheduler.snapshot import QueueSnapshot

Key = tuple[float, ...]
Item = tuple[Key, int, int, Entry]
Lane = str | None


class WaitQueue:
    """Entries in order of key, ties in order of arrival."""

    def __init__(self) -> None:
        self._entries: dict[Entry, Key] = {}
        """In order of arrival."""
        self._lanes: dict[Lane, list[Item]] = {None: []}
        self._held: dict[Entry, list[Entry]] = {}
        """Followers by leader."""
        self._stale = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        """In order of arrival."""
        return iter(self._entries)

    def push(self, entry: Entry, key: Key) -> None:
        """Enter the queue, or come back with another key, in the open lane."""
        self._entries[entry] = key
        self._place(entry, None)

    def key(self, entry: Entry) -> Key:
        """The key under which the entry waits."""
        return self._entries[entry]

    def window(self, size: int) -> list[Entry]:
        """The oldest `size` entries."""
        return list(islice(self._entries, size))

    def remove(self, entry: Entry) -> None:
        """Leave the queue."""
        del self._entries[entry]
        self._retire(entry)

    def pop(self, lanes: Iterable[Lane]) -> Entry | None:
        """Take the first entry of these lanes off its heap; it is still in the queue and must be
        removed, parked, held or put back."""
        first: Lane = None
        best: Item | None = None
        for lane in lanes:
            item = self._top(lane)
            if item is not None and (best is None or item < best):
                best, first = item, lane
        if best is None:
            return None
        heappop(self._lanes[first])
        best[3].version += 1
        return best[3]

    def park(self, entry: Entry, lane: Lane) -> None:
        """Put a popped entry in a lane under the key it has."""
        self._place(entry, lane)

    def hold(self, entry: Entry, leader: Entry) -> None:
        """Keep an entry out of all lanes until its leader is released."""
        self._retire(entry)
        entry.held_by = leader
        self._held.setdefault(leader, []).append(entry)

    def release(self, leader: Entry) -> None:
        """Let the leader's followers go on."""
        for entry in self._held.pop(leader, ()):
            if entry.held_by is leader:
                entry.followed = True
                self._place(entry, None)

    def leaders(self) -> Iterable[Entry]:
        """Those for whom somebody is held, the longest first."""
        return self._held

    def snapshot(self, model: str, now: float) -> QueueSnapshot:
        """The state at `now`."""
        return QueueSnapshot(
            model=model,
            waiting=len(self._entries),
            held=sum(entry.held_by is not None for entry in self._entries),
            oldest_seconds=max(now - entry.request.arrived_at for entry in self.window(1)),
        )

    def merge(self, lane: str) -> None:
        """Move a lane's entries to the open lane: its backend changed."""
        for item in self._lanes.pop(lane, []):
            entry = item[3]
            if item[2] == entry.version and entry in self._entries:
                self._place(entry, None)

    def _place(self, entry: Entry, lane: Lane) -> None:
        self._retire(entry)
        heap = self._lanes.setdefault(lane, [])
        heappush(heap, (self._entries[entry], entry.seq, entry.version, entry))

    def _retire(self, entry: Entry) -> None:
        """Make the entry's heap item, if any, stale."""
        entry.version += 1
        entry.held_by = None
        self._stale += 1
        if self._stale > 64 + 2 * len(self._entries):
            self._compact()

    def _top(self, lane: Lane) -> Item | None:
        heap = self._lanes.get(lane)
        while heap:
            item = heap[0]
            if item[2] == item[3].version:
                return item
            heappop(heap)
        return None

    def _compact(self) -> None:
        """Drop all stale items at once: amortised O(1), and memory follows the live entries."""
        self._stale = 0
        for heap in self._lanes.values():
            heap[:] = [item for item in heap if item[2] == item[3].version]
            heapify(heap)
