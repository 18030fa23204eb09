"""vLLM's waiting queue: a heap whose entries can be cancelled."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from paceline.engines.model.block_cache import Lease
from paceline.engines.model.sequence import Sequence


class VllmSequence(Sequence):
    """A sequence as vLLM's scheduler tracks it."""

    __slots__ = ("computed", "lease", "order", "planned", "scheduled")

    lease: Lease
    """Its KV blocks."""
    order: tuple[int, int]
    """Place in the queue: (priority, arrival number); under fcfs the priority is 0."""
    computed: int
    """Tokens whose KV is computed, or will be by the steps in flight."""
    planned: int
    """Output tokens made, or to be made by the steps in flight."""
    scheduled: int
    """Tokens it got in the step being composed."""


class WaitingQueue:
    """Orders by `order`; a preempted sequence keeps its own and so comes back in front."""

    def __init__(self) -> None:
        self._heap: list[tuple[tuple[int, int], VllmSequence]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, sequence: VllmSequence) -> None:
        """Queue `sequence`."""
        heappush(self._heap, (sequence.order, sequence))

    def head(self) -> VllmSequence | None:
        """The next to admit."""
        return self._heap[0][1] if self._heap else None

    def pop(self) -> VllmSequence:
        """Take the head; IndexError when there is none."""
        return heappop(self._heap)[1]

    def remove(self, sequence: VllmSequence) -> None:
        """Take `sequence` out, if it is here."""
        kept = [entry for entry in self._heap if entry[1] is not sequence]
        if len(kept) < len(self._heap):
            self._heap = kept
            heapify(kept)
