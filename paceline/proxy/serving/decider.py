"""What requests need of whoever decides about them, in this process or in another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from paceline.scheduler.events import Dispatch, Reject
from paceline.scheduler.types import Request, Usage


class Decider(Protocol):
    """The driver, or what stands for it in a worker."""

    @property
    def now(self) -> Callable[[], float]:
        """The scheduler's clock."""
        ...

    def admit(self, request: Request) -> Dispatch | Reject | None:
        """The decision about a new request; None if it has to `wait` for one."""
        ...

    def retry(self, id: str) -> Dispatch | Reject | None:
        """The next decision; None as well."""
        ...

    async def wait(self, id: str) -> Dispatch | Reject:
        """The decision, when it is made; to be awaited at once.

        Cancelling the caller takes the request out of the scheduler.
        """
        ...

    def first_byte(self, id: str) -> None:
        """The first byte of the answer came."""
        ...

    def finished(self, id: str, usage: Usage, prefix: tuple[int, ...] = ()) -> None:
        """The answer is complete; `prefix` are the block keys of prompt and answer, if known."""
        ...

    def failed(self, id: str) -> None:
        """The request failed for good."""
        ...

    def cancelled(self, id: str) -> None:
        """The client went away."""
        ...


class Waiter(Protocol):
    """Who is told of a decision: a future, or what passes it on to another process."""

    def done(self) -> bool:
        """Whether nobody wants to know any more."""
        ...

    def set_result(self, decision: Dispatch | Reject, /) -> None:
        """It was decided."""
        ...
