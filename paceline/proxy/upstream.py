"""Connections to engines: opened, pooled while idle, and handed to one receiver at a time."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from functools import cached_property
from typing import Protocol, cast

from paceline.proxy.config import UpstreamConfig
from paceline.proxy.gateway import Backend

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


class Connection(asyncio.Protocol):
    """One TCP connection to an engine."""

    transport: asyncio.Transport

    def __init__(self, pool: Pool, backend: Backend) -> None:
        self.backend = backend
        self.reused = False
        """Whether a request was answered here before."""
        self.idle_since = 0.0
        self._pool = pool
        self._receiver: Receiver | None = None

    def send(self, head: bytes, body: bytes, receiver: Receiver) -> None:
        """Send a request; its reply goes to `receiver`."""
        self._receiver = receiver
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
        self._receiver = None
        self._pool.keep(self)

    def abort(self) -> None:
        """Close at once, unsent bytes discarded: engines stop generating when they see it."""
        self._receiver = None
        self.transport.abort()

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
        if self._receiver is not None:
            self._receiver.received(data)
        else:
            self.transport.abort()  # nothing was asked: whatever this is, it answers nobody

    def connection_lost(self, exc: Exception | None) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.lost(exc)
        else:
            self._pool.forget(self)


class Pool:
    """Idle connections by backend; the one used last is reused first, so that the rest can age."""

    def __init__(self, config: UpstreamConfig, loop: asyncio.AbstractEventLoop) -> None:
        self._config = config
        self._loop = loop
        self._idle: dict[Backend, deque[Connection]] = {}
        self._reaper: asyncio.TimerHandle | None = None

    def reuse(self, backend: Backend) -> Connection | None:
        """An idle connection that the engine has not closed, if there is one."""
        idle = self._idle.get(backend)
        oldest = self._loop.time() - self._config.keepalive_seconds
        while idle:
            connection = idle.pop()
            if connection.idle_since >= oldest and not connection.transport.is_closing():
                connection.reused = True
                return connection
            connection.abort()
        return None

    async def connect(self, backend: Backend) -> Connection:
        """A new connection; raises ConnectFailed."""
        try:
            async with asyncio.timeout(self._config.connect_seconds):
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self, backend),
                    backend.host,
                    backend.port,
                    ssl=self._tls if backend.tls else None,
                )
        except OSError as error:  # TimeoutError and ssl.SSLError are OSErrors
            raise ConnectFailed(str(error) or "timed out") from None
        return connection

    def keep(self, connection: Connection) -> None:
        """Take back a connection that can carry another request."""
        connection.idle_since = self._loop.time()
        self._idle.setdefault(connection.backend, deque()).append(connection)
        if self._reaper is None:
            self._reaper = self._loop.call_later(self._config.keepalive_seconds, self._reap)

    def forget(self, connection: Connection) -> None:
        """The engine closed an idle connection."""
        idle = self._idle.get(connection.backend)
        if idle is not None and connection in idle:
            idle.remove(connection)

    def close(self) -> None:
        """Close all idle connections."""
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        for idle in self._idle.values():
            for connection in idle:
                connection.transport.abort()
        self._idle.clear()

    def _reap(self) -> None:
        """Close what has been idle too long; look again while anything is kept."""
        oldest = self._loop.time() - self._config.keepalive_seconds
        for backend, idle in list(self._idle.items()):
            while idle and idle[0].idle_since <= oldest:
                idle.popleft().abort()
            if not idle:
                del self._idle[backend]
        self._reaper = (
            self._loop.call_later(self._config.keepalive_seconds, self._reap)
            if self._idle
            else None
        )

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()
