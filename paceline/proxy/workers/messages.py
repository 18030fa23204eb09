"""All that a worker and its parent tell each other; of requests, in the scheduler's own words."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from paceline.engines.base import Kind
from paceline.proxy.config import BackendConfig, Config
from paceline.proxy.serving.stored import Kept
from paceline.proxy.telemetry.record import Record
from paceline.proxy.telemetry.tallies import Tallies
from paceline.scheduler.events import (
    Arrived,
    Cancelled,
    Dispatch,
    Failed,
    Finished,
    FirstByte,
    Reject,
)


class Listening(Struct, frozen=True, tag=True):
    """The worker serves the port."""


class Learned(Struct, frozen=True, tag=True):
    """A prompt of `size` bytes had `tokens` tokens."""

    model: str
    size: float
    tokens: int


class Traffic(Struct, frozen=True, tag=True):
    """What goes on between the worker and one backend; sent when it has changed."""

    backend: str
    in_flight: int
    """Requests sent and not finished."""
    last_byte_at: float | None
    """On the clock that all processes of a machine share, as all instants."""
    silent_since: float | None = None
    """Since when it owes answers and has not sent a byte of any; None with nothing to do."""
    broken_at: float = 0.0
    """When it last closed a connection that would have been kept; 0 before the first."""


class Fared(Struct, frozen=True, tag=True):
    """How a backend did with a request."""

    backend: str
    status: int | None
    """None: it gave no answer, or broke off."""
    in_flight: int = 0
    """The worker's other requests there."""
    retry_after: bytes | None = None


class Counted(Struct, frozen=True, tag=True):
    """What was counted since the last time, and whose question this answers, if anybody's."""

    tallies: Tallies
    number: int = 0


class Ended(Struct, frozen=True, tag=True):
    """The last requests that ended, for the dashboard."""

    records: list[Record]


class Asked(Struct, frozen=True, tag=True):
    """A client asks for one of the proxy's own pages."""

    number: int
    method: str
    target: str
    request_id: bytes
    """The client's own; empty for none."""
    body: bytes


class Begin(Struct, frozen=True, tag=True):
    """The first message to a worker."""

    config: Config
    seed: bytes
    """Of the block keys: the same in all workers."""
    host: str
    port: int


class Backend(Struct, frozen=True, tag=True):
    """A backend as it is now."""

    config: BackendConfig
    kind: Kind | None
    models: tuple[str, ...]
    up: bool
    draining: bool


class Removed(Struct, frozen=True, tag=True):
    """A backend is gone for good."""

    id: str


class Moved(Struct, frozen=True, tag=True):
    """Keep no connection to this backend."""

    id: str


class Abandoned(Struct, frozen=True, tag=True):
    """A backend hangs: whoever waits for it may go elsewhere."""

    id: str


class Ratios(Struct, frozen=True, tag=True):
    """Bytes a token, by model, where they changed."""

    ratios: dict[str, float]


class Reloaded(Struct, frozen=True, tag=True):
    """The configuration has changed."""

    config: Config


class Count(Struct, frozen=True, tag=True):
    """Say at once what was counted."""

    number: int


class Answered(Struct, frozen=True, tag=True):
    """The page that was asked for."""

    number: int
    status: int
    body: bytes
    content_type: str
    headers: dict[str, str]


class Finish(Struct, frozen=True, tag=True):
    """Take no more connections, drain, and end."""


ToParent = (
    Arrived
    | Cancelled
    | FirstByte
    | Finished
    | Failed
    | Learned
    | Traffic
    | Fared
    | Counted
    | Ended
    | Asked
    | Kept
    | Listening
)
ToWorker = (
    Dispatch
    | Reject
    | Begin
    | Backend
    | Removed
    | Moved
    | Abandoned
    | Ratios
    | Reloaded
    | Count
    | Answered
    | Kept
    | Finish
)

encode = msgspec.msgpack.Encoder().encode
to_parent = msgspec.msgpack.Decoder(list[ToParent]).decode
"""Reads one batch of a worker's."""
to_worker = msgspec.msgpack.Decoder(list[ToWorker]).decode
"""Reads one batch of the parent's."""
