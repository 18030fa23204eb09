"""Whose turn it is: the lines of a queue by tier and turn, with the first entry of each at hand.

A decision costs O(log lines), since nobody is told when a turn changes: a share's number only grows
while it waits, so a line is where it was or further on, and finding out when its entry is about to
go is early enough. The first entries are as lazy: each round has, for each line and lane, an entry
that is not behind the line's first, and replaces it when it comes up and is no longer there.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heappush

from paceline.scheduler.entry import Entry
from paceline.scheduler.line import Item, Key, Line

Turn = tuple[float, float]
"""Tier, the highest first, and the policy's number."""
Head = tuple[Key, int, int, Entry, Line]
"""A line's item, and the line."""
LOOK = 16
"""Lines of a round that are asked at a time whether their oldest is overdue, in rotation. Each of n
is asked within n/16 decisions; since so many wait, a mean wait is n decisions or more, and a bound
of three mean waits is kept to 2%."""


class Round:
    """Lines whose turn it is together."""

    __slots__ = ("_heads", "_lines", "turn")

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self._lines: OrderedDict[Line, None] = OrderedDict()
        self._heads: dict[str, list[Head]] = {}
        """By lane, a heap."""

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, line: Line) -> None:
        """The line has its turn now."""
        self._lines[line] = None
        line.round = self
        for lane in line.lanes:
            if (item := line.head(lane)) is not None:
                self.offer(line, lane, item)

    def remove(self, line: Line) -> None:
        """Not any more."""
        del self._lines[line]
        line.round = None

    def offer(self, line: Line, lane: str, item: Item) -> None:
        """The line has a new first entry in this lane."""
        heads = self._heads.setdefault(lane, [])
        if len(heads) > 64 + 4 * len(self._lines):
            heads[:] = [(*head, each) for each in self._lines if (head := each.head(lane))]
            heapify(heads)
        heappush(heads, (*item, line))

    def first(self, lanes: Iterable[str]) -> Head | None:
        """The first entry of all lines in these lanes."""
        heads = [head for lane in lanes if (head := self._first(lane)) is not None]
        return min(heads, default=None)

    def some(self) -> list[Line]:
        """All lines, or the next few in rotation if there are many."""
        if len(self._lines) <= LOOK:
            return list(self._lines)
        found = []
        for _ in range(LOOK):
            line, _ = self._lines.popitem(last=False)
            self._lines[line] = None
            found.append(line)
        return found

    def _first(self, lane: str) -> Head | None:
        heads = self._heads.get(lane)
        while heads:
            head = heads[0]
            _, _, version, entry, line = head
            here = line.round is self
            if here and version == entry.version:
                return head
            heappop(heads)
            if here and (item := line.head(lane)) is not None:
                heappush(heads, (*item, line))
        return None


class Rota:
    """All rounds; `turn` tells whose turn a line has."""

    def __init__(self, turn: Callable[[Line], Turn]) -> None:
        self._turn = turn
        self._rounds: dict[Turn, Round] = {}
        self._order: list[Turn] = []

    def __iter__(self) -> Iterator[Round]:
        """The rounds in order; lines may be found late for theirs meanwhile."""
        place = 0
        while place < len(self._order):
            round = self._rounds[self._order[place]]
            yield round
            place = bisect_left(self._order, round.turn) + (round.turn in self._rounds)

    def join(self, line: Line) -> None:
        """Put a line where it belongs."""
        turn = self._turn(line)
        round = self._rounds.get(turn)
        if round is None:
            round = self._rounds[turn] = Round(turn)
            insort(self._order, turn)
        round.add(line)

    def drop(self, line: Line) -> None:
        """Take a line out."""
        round = line.round
        assert round is not None
        round.remove(line)
        if not round:
            del self._rounds[round.turn]
            del self._order[bisect_left(self._order, round.turn)]

    def stays(self, line: Line) -> bool:
        """Whether its turn is still what it was; if not it is put where it belongs."""
        assert line.round is not None
        if self._turn(line) == line.round.turn:
            return True
        self.drop(line)
        self.join(line)
        return False
