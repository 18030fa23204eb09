"""vLLM's prefix cache: fixed blocks, found by all tokens up to their end, reused in LRU order.

Rules read in vLLM 0.33 (`v1/core/block_pool.py`): an idle block keeps its tokens until it is taken;
the stamp is the moment its last user lets go; a sequence's tail goes before its head; blocks that
nobody can find go first; of blocks with equal tokens the one computed first is found.

Blocks that came together and go together are one object here (`block_run`), so that a prompt of a
thousand blocks costs little more than one of ten.
"""

from __future__ import annotations

from paceline.engines.model.block_run import Node, Run
from paceline.engines.model.tape import TOKEN_BYTES


class Match:
    """The longest cached prefix of some tokens, to be held before anything else happens."""

    __slots__ = ("blocks", "idle", "nodes")

    def __init__(self, nodes: list[Node], blocks: int, idle: int) -> None:
        self.nodes = nodes
        """From the root's child down; the last may go on beyond the match."""
        self.blocks = blocks
        self.idle = idle
        """Those of them that count as free until they are held."""


class Lease:
    """Blocks of one sequence: first those that others may find, then blank ones."""

    __slots__ = ("blank", "held", "known")

    def __init__(self) -> None:
        self.held: list[tuple[Run, int]] = []
        """Runs, head first, and the block at which each began when it was taken."""
        self.known = 0
        """Blocks in them."""
        self.blank = 0

    @property
    def blocks(self) -> int:
        """All of them."""
        return self.known + self.blank


class BlockCache:
    """A pool of `blocks` KV blocks of `block_size` tokens, each idle (perhaps cached) or held."""

    def __init__(self, blocks: int, block_size: int) -> None:
        self.blocks = blocks
        self.evicted = 0
        """Cached blocks overwritten so far."""
        self._width = block_size * TOKEN_BYTES
        self._begin()

    def _begin(self) -> None:
        self.free = self.blocks
        """Blocks that no sequence holds."""
        self._blank = self.blocks
        """Those of them that hold nothing that could be found."""
        self.shared = 0
        """Blocks that sequences hold beyond the first holder of each."""
        self._root = Node(bytearray(), None, 0, self._width)
        self._idle = Run(self._root, 0)
        """Before the run idle longest and after the one idle since last."""

    def match(self, tape: bytes, limit: int) -> Match:
        """The longest cached prefix of `tape` in whole blocks, at most `limit`."""
        width, end = self._width, limit * self._width
        node, at, idle = self._root, 0, 0
        nodes: list[Node] = []
        while at < end:
            child = node.children.get(tape[at : at + width])
            if child is None:
                break
            shared = child.shared(tape, at, end)
            nodes.append(child)
            at += shared
            if not child.runs[0].users:
                idle += shared // width
            if shared < len(child.key):
                break
            node = child
        return Match(nodes, at // width, idle)

    def hold(self, match: Match) -> Lease:
        """One more sequence uses what was matched."""
        lease = Lease()
        for node in match.nodes:
            beyond = node.start + node.blocks - match.blocks
            self._use((node.split(node.blocks - beyond) if beyond > 0 else node).runs[0], lease)
        lease.known = match.blocks
        self.free -= match.idle
        return lease

    def take(self, lease: Lease, count: int) -> None:
        """Give it the `count` blocks idle longest, overwritten; KeyError when too few are free."""
        if count > self.free:
            raise KeyError(count)
        self.free -= count
        lease.blank += count
        blank = min(count, self._blank)
        self._blank -= blank
        while blank < count:
            blank += self._overwrite(self._idle.newer, count - blank)

    def publish(self, lease: Lease, tape: bytes, blocks: int) -> None:
        """From now on the first `blocks` of the lease are found under the tokens of `tape`."""
        at, end = lease.known * self._width, blocks * self._width
        lease.blank -= blocks - lease.known
        lease.known = blocks
        last = lease.held[-1][0] if lease.held else None
        if last is not None and last.private:
            last.node.key += tape[at:end]
            return
        node = last.node if last is not None else self._root
        while at < end:
            node = self._child(node, tape, at, end)
            run = Run(node, 1)
            node.runs.append(run)
            lease.held.append((run, node.start))
            at += len(node.key)

    def release(self, lease: Lease) -> None:
        """The sequence lets go of everything."""
        self._blank += lease.blank
        self.free += lease.blank
        for held, start in reversed(lease.held):
            run: Run | None = held
            while run is not None and run.node.start >= start:
                self._let_go(run)
                run = run.upper
        lease.held = []
        lease.known = lease.blank = 0

    def follows(self, match: Match, lease: Lease) -> bool:
        """Whether what the lease publishes next could make the match longer."""
        last = lease.held[-1][0].node if lease.held else self._root
        end = match.nodes[-1] if match.nodes else self._root
        return last is end and lease.known == match.blocks

    def flush(self) -> None:
        """Forget everything cached; only while nothing is held."""
        self._begin()

    def _use(self, run: Run, lease: Lease) -> None:
        if run.users:
            self.shared += run.node.blocks
        else:
            run.dequeue()
        run.users += 1
        lease.held.append((run, run.node.start))

    def _let_go(self, run: Run) -> None:
        run.users -= 1
        if run.users:
            self.shared -= run.node.blocks
        else:
            run.enqueue(self._idle)
            self.free += run.node.blocks

    def _child(self, node: Node, tape: bytes, at: int, end: int) -> Node:
        """The node below for tokens of `tape[at:end]`, as many as another one has, or all."""
        child = node.children.get(tape[at : at + self._width])
        if child is None:
            return Node(bytearray(tape[at:end]), node, at // self._width, self._width)
        shared = child.shared(tape, at, end)
        return child if shared == len(child.key) else child.split(shared // self._width)

    def _overwrite(self, run: Run, most: int) -> int:
        """Take up to `most` blocks from the tail of an idle run; how many they were."""
        node = run.node
        count = min(most, node.blocks)
        self.evicted += count
        if count < node.blocks and len(node.runs) == 1:
            del node.key[-count * self._width :]
            return count
        if count < node.blocks:  # the head lies here too, the tail only elsewhere from now on
            node.split(node.blocks - count)
        run.dequeue()
        node.lose(run)
        return count
