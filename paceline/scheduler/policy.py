"""The policy: who goes first, and where. Subclass `Policy`; fields are its settings."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from paceline.scheduler.fleet import Backend
    from paceline.scheduler.types import Request


class View(Protocol):
    """All that a policy may look at; the same in the proxy and in the simulator."""

    @property
    def now(self) -> float:
        """Seconds on the shell's clock."""
        ...

    @property
    def rng(self) -> random.Random:
        """The one source of randomness, seeded: equal inputs give equal decisions."""
        ...

    @property
    def backends(self) -> Sequence[Backend]:
        """In `place`: those that may take this request now. In `order`: all there are."""
        ...

    @property
    def mean_wait(self) -> float:
        """Recent mean of the seconds that requests spent in the queue."""
        ...

    def cached(self, request: Request, backend: Backend | None = None) -> int:
        """Tokens of the prompt believed to be cached there, or where there are most."""
        ...

    def cost(self, request: Request, backend: Backend) -> float:
        """What running it there costs, in prefill tokens: work queued there and work it adds."""
        ...


class Policy(Struct, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Subclass me. Fields are settings; the methods are the policy."""

    ranks: ClassVar[Literal["once", "on_match", "always"]] = "once"
    """When `order` is asked: on arrival; again when what is cached of the prompt changes; or at
    every decision, for as many requests as fit in the re-ranking window."""

    def order(self, request: Request, view: View) -> tuple[float, ...]:
        """Sort key in the waiting queue: the smallest goes first; ties go by arrival."""
        return (request.arrived_at,)

    def place(self, request: Request, view: View) -> Backend | None:
        """The backend to run on, out of `view.backends`, or None to wait for the next event."""
        return min(view.backends, key=lambda backend: view.cost(request, backend), default=None)

    def overdue(self, request: Request, view: View) -> bool:
        """Whether it has waited so long that it goes before all others: the bound on starvation."""
        return False
