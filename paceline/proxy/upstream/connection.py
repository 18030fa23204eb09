"""One connection to an engine: a request out, its reply to one receiver, then the next request."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

from paceline.proxy.http.outbox import Outbox
from paceline.proxy.upstream.address import Address

ONE_WRITE = 64 * 1024
"""Bodies up to this size are copied behind their head, to leave in one system call."""


class Receiver(Protocol):
    """Whoever reads the reply on a connection."""

    def received(self, data: bytes) -> None:
        """More bytes came."""
        ...

    def lost(self, error: Exception | None) -> None:
        """The connection is gone; `error` is None when the engine closed it in an orderly way."""
        ...

    def stalled(self) -> None:
        """The engine was found to hang; the connection is still there."""
        ...


class Keeper(Protocol):
    """Who has opened the connection, and keeps it while it is idle: the pool."""

    @property
    def now(self) -> Callable[[], float]:
        """The loop's clock, in seconds."""
        ...

    @property
    def outbox(self) -> Outbox:
        """What writes to all its connections."""
        ...

    def keep(self, connection: Connection, /) -> None:
        """It can carry another request."""
        ...

    def forget(self, connection: Connection, /) -> None:
        """The engine closed it while it was idle."""
        ...


class Lane:
    """All connections to one backend."""

    def __init__(self) -> None:
        self.idle: deque[Connection] = deque()
        """The one used last at the right."""
        self.busy: set[Connection] = set()
        """Those with a request sent whose reply has not ended."""
        self.opening: set[asyncio.Timeout] = set()
        """The patience with which connections are being opened."""
        self.busy_since = 0.0
        """Since when it has had something to do without a pause."""
        self.heard_at: float | None = None
        """When any byte of a reply last came."""
        self.broken_at = 0.0
        """When it last closed a connection that the proxy would have kept."""
        self.dropped = False
        """The backend is gone or elsewhere: no connection is kept any longer."""

    def begin(self, now: float) -> None:
        """Something is asked of it."""
        if not self.busy and not self.opening:
            self.busy_since = now


class Connection(asyncio.Protocol):
    """One TCP connection to an engine."""

    transport: asyncio.Transport

    def __init__(self, keeper: Keeper, backend: Address, lane: Lane) -> None:
        self.backend = backend
        self.lane = lane
        self.reused = False
        """Whether a request was answered here before."""
        self.heard_at = keeper.now()
        """When bytes last came, or it was made, on the loop's clock."""
        self._keeper = keeper
        self._now = keeper.now
        self._outbox = keeper.outbox
        self._receiver: Receiver | None = None

    def send(self, head: bytes, body: bytes, receiver: Receiver) -> None:
        """Send a request; its reply goes to `receiver`."""
        self._receiver = receiver
        lane = self.lane
        if not lane.busy:
            lane.begin(self._now())
        lane.busy.add(self)
        if len(body) <= ONE_WRITE:
            self._outbox.write(self.transport, head + body)
        else:
            self._outbox.write(self.transport, head)
            self._outbox.write(self.transport, body)

    @property
    def sent(self) -> bool:
        """Whether the system took the whole request."""
        return not self.transport.get_write_buffer_size()

    def release(self) -> None:
        """The reply is complete: keep the connection for the next request."""
        self._leave()
        self._keeper.keep(self)

    def abort(self) -> None:
        """Close at once, unsent bytes discarded: engines stop generating when they see it."""
        self._leave()
        self.transport.abort()

    def stalled(self) -> None:
        """Tell whoever waits for the reply that the engine hangs."""
        if self._receiver is not None:
            self._receiver.stalled()

    def pause(self) -> None:
        """Read no more until `resume`."""
        self.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        receiver = self._receiver
        if receiver is not None:
            self.heard_at = self.lane.heard_at = self._now()
            receiver.received(data)
        else:
            self.transport.abort()  # nothing was asked: whatever this is, it answers nobody

    def connection_lost(self, exc: Exception | None) -> None:
        receiver = self._leave()
        if receiver is not None:
            self.lane.broken_at = self._now()
            receiver.lost(exc)
        else:
            self._keeper.forget(self)

    def _leave(self) -> Receiver | None:
        """No reply is expected any longer; returns who expected one."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            self.lane.busy.discard(self)
        return receiver
