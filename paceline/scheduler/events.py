"""All that goes into the scheduler (past participles) and all that comes out (imperatives)."""

from __future__ import annotations

from msgspec import Struct

from paceline.scheduler.types import BackendSpec, Request, Usage


class Arrived(Struct, frozen=True, tag=True):
    """A request wants to be served."""

    request: Request


class Sent(Struct, frozen=True, tag=True):
    """Another proxy sent this request to a backend that both have.

    It takes room there, and ends by `Finished` or by `Failed` without `retry`.
    """

    request: Request
    backend: str


class ProxiesChanged(Struct, frozen=True, tag=True):
    """So many proxies feed the backends, this one included."""

    proxies: int


class Cancelled(Struct, frozen=True, tag=True):
    """The client went away, whether the request was waiting or running."""

    id: str


class FirstByte(Struct, frozen=True, tag=True):
    """The engine sent the first byte of the answer: the prompt is computed there."""

    id: str
    took: float | None = None
    """Seconds since it was sent, where another proxy tells: news of both travel. None: as seen."""


class Finished(Struct, frozen=True, tag=True):
    """The answer is complete."""

    id: str
    usage: Usage = Usage()
    prefix: tuple[int, ...] = ()
    """Block keys of the prompt and its answer, as a later prompt that quotes both begins; empty
    where they are not known."""
    took: float | None = None
    """As of `FirstByte`."""


class Failed(Struct, frozen=True, tag=True):
    """The backend did not complete the request; with `retry` it goes back to the queue's head."""

    id: str
    retry: bool = False


class BackendChanged(Struct, frozen=True, tag=True):
    """A backend is new, or something about it changed."""

    backend: BackendSpec


class BackendRemoved(Struct, frozen=True, tag=True):
    """A backend left the configuration; the shell fails what still runs there by itself."""

    id: str


class BackendReset(Struct, frozen=True, tag=True):
    """A backend restarted: its KV pool is empty."""

    id: str


class CacheReported(Struct, frozen=True, tag=True):
    """A backend told which blocks its cache got and lost since it told last.

    The first one begins with an empty cache. With `known` false it tells no longer.
    """

    id: str
    stored: tuple[int, ...] = ()
    """Block keys."""
    removed: tuple[int, ...] = ()
    known: bool = True


class LoadReported(Struct, frozen=True, tag=True):
    """A backend told its own load.

    `asked_at` is when it was asked: what was dispatched later is not in the figures.
    """

    id: str
    running: int
    waiting: int
    asked_at: float


class Tick(Struct, frozen=True, tag=True):
    """`deadline()` has come."""


Event = (
    Arrived
    | Sent
    | ProxiesChanged
    | Cancelled
    | FirstByte
    | Finished
    | Failed
    | BackendChanged
    | BackendRemoved
    | BackendReset
    | CacheReported
    | LoadReported
    | Tick
)


class Dispatch(Struct, frozen=True, tag=True):
    """Send this request to that backend now."""

    id: str
    backend: str
    cached_tokens: int
    """How much of the prompt is believed to be in the backend's KV cache."""
    waited: float
    """Seconds it spent in the queue."""
    reason: str
    """Why it went now: see `scheduler.REASONS`."""


class Reject(Struct, frozen=True, tag=True):
    """Answer this request with an error: it is out of the scheduler."""

    id: str
    reason: str
    """`queue_full`, `shed`, `deadline`, `no_backend` or `unknown_model`."""
    retry_after: float = 0.0
    """Seconds after which trying again makes sense; 0 for never."""


Action = Dispatch | Reject
