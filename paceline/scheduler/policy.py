"""The policy: who goes first, and where. Subclass `Policy`; fields are its settings."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterator, Sequence
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
        """In `place`: those that may take this request now. Elsewhere: all there are."""
        ...

    @property
    def mean_wait(self) -> float:
        """Recent mean of the seconds spent in the queue; in `overdue`, by those of the same
        priority and share."""
        ...

    def cached(self, request: Request, backend: Backend | None = None) -> int:
        """Tokens of the prompt believed to be cached there, or where there are most."""
        ...

    def cost(self, request: Request, backend: Backend) -> float:
        """What it costs there, in seconds of prefill: work queued and work that it adds."""
        ...

    def cheapest(self, request: Request) -> Backend | None:
        """Of `backends`, the first of those where it costs least; None if there are none."""
        ...


class Policy(Struct, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Subclass me. Fields are settings; the methods are the policy."""

    ranks: ClassVar[Literal["once", "on_match"]] = "once"
    """When `order` and `bucket` are asked: on arrival; and again when what is cached changes."""
    strict: ClassVar[bool] = True
    """Whether a higher `Request.priority` always goes first; if not, the policy sees to it."""

    # Who goes first

    def order(self, request: Request, view: View) -> tuple[float, ...]:
        """Sort key in the waiting queue: the smallest goes first; ties go by arrival."""
        return (request.arrived_at,)

    def overdue(self, request: Request, view: View) -> bool:
        """Whether the oldest request has waited so long that it goes before all others."""
        return False

    def share(self, request: Request) -> str:
        """Whose turn it must be for this request to go, such as its tenant."""
        return ""

    def turn(self, share: str, view: View) -> float:
        """Which shares may go now: those with the smallest number. A share's number must not get
        smaller while requests of it wait."""
        return 0.0

    # Keys that time changes

    def bucket(self, request: Request, view: View) -> Hashable:
        """Requests of one bucket never overtake each other as time passes: `order` is for them."""
        return 0

    def rank(self, request: Request, view: View) -> tuple[float, ...]:
        """Sort key at this instant among the first of each bucket, asked at every decision."""
        return self.order(request, view)

    def walk(self, view: View) -> Iterator[Hashable] | None:
        """The buckets in the order in which they go now, instead of by `rank`."""
        return None

    # Where

    def place(self, request: Request, view: View) -> Backend | None:
        """The backend to run on, out of `view.backends`, or None to wait for the next event."""
        return view.cheapest(request)

    # What happened

    def entered(self, request: Request, view: View) -> None:
        """The request begins to wait; before `order` is asked about it."""

    def left(self, request: Request, view: View) -> None:
        """It no longer waits: it was dispatched, or its client or its time is gone."""

    def dispatched(self, request: Request, backend: Backend, view: View) -> None:
        """It goes to this backend; `view.cached` tells what it finds there."""

    def finished(self, request: Request, output_tokens: int) -> None:
        """Its answer is complete."""
