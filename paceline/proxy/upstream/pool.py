"""Connections to engines: opened, pooled while idle, and handed to one receiver at a time."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from functools import cached_property
from typing import Protocol, cast

from paceline.proxy.config import UpstreamConfig
from paceline.proxy.upstream.address import Address

ONE_WRITE = 64 * 1024
"""Bodies up to this size are copied behind their head, to leave in one system call."""


class ConnectFailed(Exception):
    """The engine could not be reached."""


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

    def begin(self, now: float) -> None:
        """Something is asked of it."""
        if not self.busy and not self.opening:
            self.busy_since = now


class Connection(asyncio.Protocol):
    """One TCP connection to an engine."""

    transport: asyncio.Transport

    def __init__(self, pool: Pool, backend: Address, lane: Lane) -> None:
        self.backend = backend
        self.lane = lane
        self.reused = False
        """Whether a request was answered here before."""
        self.heard_at = 0.0
        """When bytes last came, on the loop's clock."""
        self.idle_since = 0.0
        self._pool = pool
        self._now = pool.now
        self._receiver: Receiver | None = None

    def send(self, head: bytes, body: bytes, receiver: Receiver) -> None:
        """Send a request; its reply goes to `receiver`."""
        self._receiver = receiver
        self.lane.begin(self._now())
        self.lane.busy.add(self)
        if len(body) <= ONE_WRITE:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            self.transport.write(body)

    @property
    def sent(self) -> bool:
        """Whether the system took the whole request."""
        return not self.transport.get_write_buffer_size()

    def release(self) -> None:
        """The reply is complete: keep the connection for the next request."""
        self._leave()
        self._pool.keep(self)

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
            self._pool.forget(self)

    def _leave(self) -> Receiver | None:
        """No reply is expected any longer; returns who expected one."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            self.lane.busy.discard(self)
        return receiver


class Pool:
    """Idle connections by backend; the one used last is reused first, so that the rest can age."""

    def __init__(self, config: UpstreamConfig, loop: asyncio.AbstractEventLoop) -> None:
        self.now = loop.time
        self._config = config
        self._loop = loop
        self._lanes: dict[str, Lane] = {}
        self._reaper: asyncio.TimerHandle | None = None

    def in_flight(self, backend: str) -> int:
        """Requests sent to the backend of this name whose reply has not ended."""
        return len(self._lane(backend).busy)

    def last_byte_at(self, backend: str) -> float | None:
        """When a byte of any reply last came from there; None before the first."""
        return self._lane(backend).heard_at

    def broken_at(self, backend: str) -> float:
        """When it last closed a connection that the proxy would have kept; 0 before the first."""
        return self._lane(backend).broken_at

    def silence(self, backend: str) -> float:
        """Seconds for which it has owed an answer and not sent a byte of any; 0 with nothing to do.

        Connections that it does not accept count like answers that do not come.
        """
        lane = self._lane(backend)
        if not lane.busy and not lane.opening:
            return 0.0
        return self.now() - max(lane.heard_at or 0.0, lane.busy_since)

    def abandon(self, backend: str) -> None:
        """It hangs: whoever waits for it may go elsewhere, whoever connects gives up."""
        lane = self._lane(backend)
        for patience in lane.opening:
            if not patience.expired():
                patience.reschedule(self.now())
        for connection in list(lane.busy):
            connection.stalled()

    def reuse(self, backend: Address) -> Connection | None:
        """An idle connection that the engine has not closed, if there is one."""
        idle = self._lane(backend.id).idle
        oldest = self.now() - self._config.keepalive_seconds
        while idle:
            connection = idle.pop()
            if connection.idle_since >= oldest and not connection.transport.is_closing():
                connection.reused = True
                return connection
            connection.abort()
        return None

    async def connect(self, backend: Address) -> Connection:
        """A new connection; raises ConnectFailed."""
        lane = self._lane(backend.id)
        patience = asyncio.timeout(self._config.connect_seconds)
        lane.begin(self.now())
        lane.opening.add(patience)
        try:
            async with patience:
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self, backend, lane),
                    backend.host,
                    backend.port,
                    ssl=(backend.context or self._tls) if backend.tls else None,
                )
        except OSError as error:  # TimeoutError and ssl.SSLError are OSErrors
            raise ConnectFailed(str(error) or "timed out") from None
        finally:
            lane.opening.discard(patience)
            del patience  # it refers to the task, whose cancellation refers to here
        return connection

    def keep(self, connection: Connection) -> None:
        """Take back a connection that can carry another request."""
        if self._lanes.get(connection.backend.id) is not connection.lane:
            connection.transport.abort()
            return
        connection.idle_since = self.now()
        connection.lane.idle.append(connection)
        if self._reaper is None:
            self._reaper = self._loop.call_later(self._config.keepalive_seconds, self._reap)

    def forget(self, connection: Connection) -> None:
        """The engine closed an idle connection."""
        if connection in connection.lane.idle:
            connection.lane.idle.remove(connection)
            connection.lane.broken_at = self.now()

    def drop(self, backend: str) -> None:
        """It is gone or elsewhere: keep no connection to it, those in use too once they are not."""
        lane = self._lanes.pop(backend, None)
        for connection in lane.idle if lane is not None else ():
            connection.transport.abort()

    def close(self) -> None:
        """Close all idle connections."""
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        for lane in self._lanes.values():
            for connection in lane.idle:
                connection.transport.abort()
            lane.idle.clear()

    def _lane(self, id: str) -> Lane:
        lane = self._lanes.get(id)
        if lane is None:
            lane = self._lanes[id] = Lane()
        return lane

    def _reap(self) -> None:
        """Close what has been idle too long; look again while anything is kept."""
        oldest = self.now() - self._config.keepalive_seconds
        kept = False
        for lane in self._lanes.values():
            while lane.idle and lane.idle[0].idle_since <= oldest:
                lane.idle.popleft().abort()
            kept = kept or bool(lane.idle)
        self._reaper = (
            self._loop.call_later(self._config.keepalive_seconds, self._reap) if kept else None
        )

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()
