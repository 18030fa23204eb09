"""What stands in a worker for the driver and the token ratio, which are the parent's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from paceline.proxy.http.errors import ApiError
from paceline.proxy.serving.ratio import START, TokenRatio
from paceline.proxy.upstream.standing import Standing
from paceline.proxy.workers.messages import Fared, Learned, ToParent
from paceline.scheduler.events import (
    Arrived,
    Cancelled,
    Dispatch,
    Failed,
    Finished,
    FirstByte,
    Reject,
)
from paceline.scheduler.types import Request, Usage

Send = Callable[[ToParent], None]


class RemoteDriver:
    """Tells the parent's driver of every step, and wakes those about whom it has decided."""

    def __init__(self, send: Send, loop: asyncio.AbstractEventLoop) -> None:
        self.now = loop.time
        """The scheduler's clock: loops of one machine share it."""
        self._send = send
        self._loop = loop
        self._waiting: dict[str, asyncio.Future[Dispatch | Reject]] = {}
        self._alone = False

    def admit(self, request: Request) -> None:
        """Ask for the decision about a new request; raises ApiError once the parent is gone."""
        self._ask(Arrived(request))

    def retry(self, id: str) -> None:
        """The backend failed before the first byte: ask for another; raises ApiError as well."""
        self._ask(Failed(id, retry=True))

    async def wait(self, id: str) -> Dispatch | Reject:
        """The decision that was asked for; raises ApiError once the parent is gone.

        Cancelling the caller takes the request out of the scheduler.
        """
        future: asyncio.Future[Dispatch | Reject] = self._loop.create_future()
        self._waiting[id] = future
        try:
            return await future
        except asyncio.CancelledError:
            self._waiting.pop(id, None)
            self._send(Cancelled(id))
            raise

    def first_byte(self, id: str) -> None:
        """The first byte of the answer came."""
        self._send(FirstByte(id))

    def finished(self, id: str, usage: Usage, prefix: tuple[int, ...] = ()) -> None:
        """The answer is complete; `prefix` are the block keys of prompt and answer, if known."""
        self._send(Finished(id, usage, prefix))

    def failed(self, id: str) -> None:
        """The backend failed and the request ends here."""
        self._send(Failed(id))

    def cancelled(self, id: str) -> None:
        """The client went away."""
        self._send(Cancelled(id))

    def decided(self, decision: Dispatch | Reject) -> None:
        """The parent has decided; nobody hears it if the client has left meanwhile."""
        future = self._waiting.pop(decision.id, None)
        if future is not None and not future.done():
            future.set_result(decision)

    def abandon(self) -> None:
        """The parent is gone: nobody decides any more."""
        self._alone = True
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(_gone())
        self._waiting.clear()

    def _ask(self, event: Arrived | Failed) -> None:
        if self._alone:
            raise _gone()
        self._send(event)


class RemoteStanding(Standing):
    """Tells the parent how a backend does with this worker's requests."""

    def __init__(self, backend: str, send: Send) -> None:
        super().__init__()
        self._backend = backend
        self._send = send

    def answered(
        self, status: int, now: float, in_flight: int, retry_after: bytes | None = None
    ) -> None:
        """It answered a request with `status`, having `in_flight` others."""
        self._send(Fared(self._backend, status, in_flight, retry_after))

    def failed(self, now: float) -> None:
        """It gave a request no answer, or broke off."""
        self._send(Fared(self._backend, None))


class RemoteRatio(TokenRatio):
    """The ratios that the parent has learned from all workers."""

    def __init__(self, send: Send) -> None:
        super().__init__()
        self._send = send
        self._told: dict[str, float] = {}

    def bytes_per_token(self, model: str) -> float:
        """The ratio for `model`."""
        return self._told.get(model, START)

    def learn(self, model: str, size: float, tokens: int) -> None:
        """A prompt of `size` bytes had `tokens` tokens."""
        self._send(Learned(model, size, tokens))

    def update(self, ratios: dict[str, float]) -> None:
        """The parent knows better now."""
        self._told.update(ratios)


def _gone() -> ApiError:
    return ApiError(503, "The proxy is restarting.", reason="restarting", retry_after=1.0)
