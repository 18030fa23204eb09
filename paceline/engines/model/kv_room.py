"""SGLang's KV accounting: the pool, what the radix tree holds of it, and the admission budget."""

from __future__ import annotations

from collections.abc import Iterable

from paceline.engines.model.radix_cache import Node, RadixCache
from paceline.engines.model.sequence import Sequence

MAX_NEW_TOKENS_CLIP = 4096
"""Most output that admission reserves (`SGLANG_CLIP_MAX_NEW_TOKENS_ESTIMATION`)."""


class SglangSequence(Sequence):
    """A sequence with its place in the radix tree."""

    __slots__ = ("arrival", "born", "kv", "node", "prefix", "running")

    arrival: int
    """Arrival number."""
    born: int
    """Tokens that the engine had processed when this sequence arrived (for hrrn)."""
    kv: int
    """Tokens of it in KV, or to be there by the steps in flight."""
    prefix: int
    """Those of them that stand in the tree, locked."""
    node: Node
    """Where that prefix ends."""
    running: bool
    """Admitted, and not retracted since."""

    @property
    def reserve(self) -> int:
        """Output that admission expects of it."""
        return min(self.limit - self.made, MAX_NEW_TOKENS_CLIP)


class KvRoom:
    """The pool of `tokens`: in the tree, private to running sequences, or free."""

    def __init__(self, tokens: int, page_size: int, *, evicts_all: bool = False) -> None:
        self.tokens = tokens // page_size * page_size
        self.page = page_size
        self._evicts_all = evicts_all
        self.tree = RadixCache(page_size)
        self.private = 0
        """Tokens that running sequences hold outside the tree."""

    @property
    def available(self) -> int:
        """Free tokens, and those that eviction would free."""
        return self.tokens - self.private - self.tree.tokens + self.tree.evictable

    def pages(self, tokens: int) -> int:
        """`tokens` rounded up to whole pages."""
        return -(-tokens // self.page) * self.page

    def take(self, tokens: int) -> None:
        """Make `tokens` private, evicting as needed; never more than `available`."""
        self.clear(tokens)
        self.private += tokens

    def clear(self, tokens: int) -> None:
        """Evict until `tokens` are free, or as many more, or nothing is left to evict."""
        short = tokens - (self.tokens - self.private - self.tree.tokens)
        if short > 0:
            self.tree.evict(tokens if self._evicts_all else short)

    def pin(self, sequence: SglangSequence) -> None:
        """Match the tokens of `sequence`, all but the last, and lock what is found."""
        node, sequence.prefix = self.tree.match(sequence.tape, sequence.known - 1)
        self._lock(sequence, node)
        sequence.kv = sequence.prefix

    def unpin(self, sequence: SglangSequence) -> None:
        """Undo `pin` on a sequence that holds nothing else."""
        self.tree.unlock(sequence.node)
        sequence.kv = sequence.prefix = 0

    def publish(self, sequence: SglangSequence, tokens: int) -> None:
        """Put its first `tokens` into the tree; what the tree had already is freed."""
        node, aligned = self.tree.insert(sequence.tape, tokens)
        self.private -= aligned - sequence.prefix
        old, sequence.prefix = sequence.node, aligned
        self._lock(sequence, node)
        self.tree.unlock(old)

    def release(self, sequence: SglangSequence) -> None:
        """Free what it holds outside the tree and unlock what it holds inside."""
        self.private -= self.pages(sequence.kv) - sequence.prefix
        self.unpin(sequence)

    def _lock(self, sequence: SglangSequence, node: Node) -> None:
        self.tree.lock(node)
        sequence.node = node


class AdmissionBudget:
    """What one prefill batch may still take (`PrefillAdder`, alike in SGLang 0.5.16 and 0.5.23)."""

    def __init__(
        self, room: KvRoom, chunk: int, running: Iterable[SglangSequence], ratio: float
    ) -> None:
        self._room = room
        self.chunk = chunk
        """Prefill tokens left in this batch."""
        self.extend = 0
        """Tokens that the batch will make private."""
        self._expected = sum(sequence.reserve for sequence in running) * ratio
        self._reserved = 0

    @property
    def total(self) -> float:
        """Room that is left when running and admitted sequences get the output expected."""
        return self._room.available - self._expected - self._reserved

    def fits(self, sequence: SglangSequence) -> bool:
        """Whether a pinned sequence has room, its expected output included."""
        need = sequence.known - sequence.prefix + sequence.reserve + self._room.page
        return need < self.total

    def charge(self, tokens: int, output: int) -> None:
        """Count `tokens` of prefill, and the output reserved with them."""
        pages = self._room.pages(tokens)
        self.chunk -= pages
        self.extend += pages
        self._reserved += pages + output + self._room.page
