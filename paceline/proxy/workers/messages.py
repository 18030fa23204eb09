"""All that a worker and its parent tell each other; of requests, in the scheduler's own words."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from paceline.engines.base import Kind
from paceline.proxy.config import BackendConfig, Config
from paceline.proxy.tallies import Tallies
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
    """On the clock that all processes of a machine share."""


class Counted(Struct, frozen=True, tag=True):
    """What was counted since the last time, and whose question this answers, if anybody's."""

    tallies: Tallies
    number: int = 0


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
    | Counted
    | Asked
    | Listening
)
ToWorker = (
    Dispatch
    | Reject
    | Begin
    | Backend
    | Removed
    | Moved
    | Ratios
    | Reloaded
    | Count
    | Answered
    | Finish
)

encode = msgspec.msgpack.Encoder().encode
to_parent = msgspec.msgpack.Decoder(list[ToParent]).decode
"""Reads one batch of a worker's."""
to_worker = msgspec.msgpack.Decoder(list[ToWorker]).decode
"""Reads one batch of the parent's."""
