"""A request's claim on a backend: held while the reply is relayed, given up exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from paceline.engines.answers import Transcript
from paceline.proxy.http.errors import ApiError, rejected, unknown_model
from paceline.proxy.serving.usage import plausible
from paceline.proxy.telemetry.record import Record
from paceline.scheduler.events import Dispatch, Reject
from paceline.scheduler.types import Request, Usage

if TYPE_CHECKING:
    from paceline.proxy.serving.decider import Decider
    from paceline.proxy.upstream.directory import Directory


class Claim(Protocol):
    """What the forwarding of a request needs from whoever chose its backend.

    One of `finished`, `failed` and `cancelled` ends it, unless `move` did by raising.
    """

    @property
    def backend(self) -> str:
        """The backend it is sent to."""
        ...

    @property
    def transcript(self) -> Transcript | None:
        """What gathers the answer, where it is wanted."""
        ...

    async def move(self) -> None:
        """That backend failed before the first byte: choose again; raises ApiError."""
        ...

    def first_byte(self) -> None:
        """The answer begins."""
        ...

    def finished(self, usage: Usage) -> None:
        """The answer is complete."""
        ...

    def failed(self) -> None:
        """There is no answer."""
        ...

    def cancelled(self) -> None:
        """The client went away."""
        ...


class Scheduled:
    """A place given by the scheduler, which hears of every step."""

    backend = ""
    _open = False  # the scheduler has not heard of its end

    def __init__(
        self,
        driver: Decider,
        request: Request,
        record: Record,
        decision: Dispatch | Reject,
        transcript: Transcript | None = None,
    ) -> None:
        """`decision`: the driver's about the request; raises ApiError when that is a refusal."""
        self.transcript = transcript
        self._driver = driver
        self._request = request
        self._record = record
        self._take(decision)

    async def move(self) -> None:
        """The backend failed: back to the head of the queue. Raises ApiError when refused."""
        self._open = False  # while it waits, the driver itself answers for it
        driver, id = self._driver, self._request.id
        self._take(driver.retry(id) or await driver.wait(id))

    def first_byte(self) -> None:
        """The prompt is computed; of answers in one piece the end says so, at the same time."""
        if self._request.streaming:
            self._driver.first_byte(self._request.id)

    def finished(self, usage: Usage) -> None:
        """The answer is complete: the next turn's prompt will begin with it and its prompt."""
        if self._open:
            self._open = False
            prefix = self.transcript.keys() if self.transcript is not None else ()
            self._driver.finished(self._request.id, plausible(usage, self._request), prefix)

    def failed(self) -> None:
        """The engine gave no answer."""
        if self._open:
            self._open = False
            self._driver.failed(self._request.id)

    def cancelled(self) -> None:
        """The client went away."""
        if self._open:
            self._open = False
            self._driver.cancelled(self._request.id)

    def _take(self, decision: Dispatch | Reject) -> None:
        record = self._record
        record.reason = decision.reason
        if isinstance(decision, Reject):
            record.outcome = "rejected"
            raise rejected(decision.reason, self._request.model, decision.retry_after)
        self._open = True
        self.backend = record.backend = decision.backend
        record.queued = decision.waited
        record.cached_tokens = decision.cached_tokens
        record.dispatched_at = self._driver.now()


class Unscheduled:
    """Any backend that serves the model: for requests that pass through."""

    transcript = None

    def __init__(self, directory: Directory, model: str, record: Record, backend: str = "") -> None:
        self._directory = directory
        self._model = model
        self._record = record
        self.backend = backend
        self._pick()

    async def move(self) -> None:
        """Another backend, if there is one; raises ApiError."""
        self._pick()

    def first_byte(self) -> None:
        """Nobody needs to know."""

    def finished(self, usage: Usage) -> None:
        """Nobody needs to know."""

    def failed(self) -> None:
        """Nobody needs to know."""

    def cancelled(self) -> None:
        """Nobody needs to know."""

    def _pick(self) -> None:
        backend = self._directory.pick(self._model, self.backend, self._record.path)
        if backend is None:
            if self._model and self._directory.up():
                raise unknown_model(self._model)
            raise ApiError(503, "No engine is up.", reason="no_backend", retry_after=1.0)
        self.backend = self._record.backend = backend.id
