"""SGLang's dfs-weight: depth first through the tree of waiting prompts, heavier branches first.

SGLang (schedule_policy.py, 0.5.23) weighs each node of its radix tree by the requests that wait
below it and goes depth first, the heavier child first, a node's own requests after its children.
For a fixed batch and a cache that holds the longest prompt, depth first order has the best hit rate
there is (SGLang paper, arXiv 2312.07104). SGLang walks anew for each batch; here, where a decision
is about one request, the walk goes on from the last one served, or branches of equal weight would
take turns and evict each other.
"""

from __future__ import annotations

from collections.abc import Iterator

from paceline.policies.bounded import Bounded
from paceline.scheduler.fleet import Backend
from paceline.scheduler.policy import View
from paceline.scheduler.types import Request

ROOT = 0


class Branch:
    """A block of the tree: its children by weight, that is by how many requests wait below them."""

    __slots__ = ("children", "own", "weight")

    def __init__(self) -> None:
        self.weight = 0
        self.own = 0
        """Requests that end here."""
        self.children: dict[int, dict[int, None]] = {}

    def weigh(self, child: int, old: int, new: int) -> None:
        """A child changed its weight; 0 is for none."""
        if old:
            del self.children[old][child]
            if not self.children[old]:
                del self.children[old]
        if new:
            self.children.setdefault(new, {})[child] = None

    def heaviest_first(self) -> Iterator[int]:
        """The children."""
        for weight in sorted(self.children, reverse=True):
            yield from self.children[weight]


class DfsWeight(Bounded):
    """Family by family, the largest first, as the tree of waiting prompts is laid out."""

    def __post_init__(self) -> None:
        self._tree: dict[int, Branch] = {ROOT: Branch()}
        """By block key; keys are chained, so each has its place in the tree."""
        self._at: tuple[int, ...] = ()
        """The prompt served last: where the walk goes on."""

    def entered(self, request: Request, view: View) -> None:
        """One more below each block of its prompt."""
        self._weigh(request, 1)

    def left(self, request: Request, view: View) -> None:
        """One less."""
        self._weigh(request, -1)

    def dispatched(self, request: Request, backend: Backend, view: View) -> None:
        """The walk is here."""
        self._at = request.prefix

    def bucket(self, request: Request, view: View) -> int:
        """The branch that the prompt ends in."""
        return request.prefix[-1] if request.prefix else ROOT

    def walk(self, view: View) -> Iterator[int]:
        """What is left below the last one served, then below its parent, and so on up."""
        done = ROOT
        for key in (*reversed(self._at), ROOT):
            if key in self._tree:
                yield from self._below(key, done)
                done = key

    def _below(self, key: int, done: int) -> Iterator[int]:
        branch = self._tree[key]
        for child in branch.heaviest_first():
            if child != done:
                yield from self._below(child, ROOT)
        if branch.own:
            yield key

    def _weigh(self, request: Request, by: int) -> None:
        branch = self._tree[ROOT]
        for key in request.prefix:
            child = self._tree.get(key)
            if child is None:
                child = self._tree[key] = Branch()
            child.weight += by
            branch.weigh(key, child.weight - by, child.weight)
            if not child.weight:
                del self._tree[key]
            branch = child
        branch.own += by
