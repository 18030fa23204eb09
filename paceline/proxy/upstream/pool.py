"""Connections to engines: opened, kept while idle, found to be silent, and closed."""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict
from functools import cached_property

from paceline.proxy.config import UpstreamConfig
from paceline.proxy.http.outbox import Outbox
from paceline.proxy.upstream.address import Address
from paceline.proxy.upstream.connection import Connection, Lane


class ConnectFailed(Exception):
    """The engine could not be reached."""


class Pool:
    """Idle connections by backend; the one used last is reused first, so that the rest can age."""

    def __init__(self, config: UpstreamConfig, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.now = loop.time
        self.outbox = Outbox(loop)
        self._config = config
        self._lanes: defaultdict[str, Lane] = defaultdict(Lane)
        self._reaper: asyncio.TimerHandle | None = None

    def in_flight(self, backend: str) -> int:
        """Requests sent to the backend of this name whose reply has not ended."""
        return len(self._lanes[backend].busy)

    def last_byte_at(self, backend: str) -> float | None:
        """When a byte of any reply last came from there; None before the first."""
        return self._lanes[backend].heard_at

    def broken_at(self, backend: str) -> float:
        """When it last closed a connection that the proxy would have kept; 0 before the first."""
        return self._lanes[backend].broken_at

    def silence(self, backend: str) -> float:
        """Seconds for which it has owed an answer and not sent a byte of any; 0 with nothing to do.

        Connections that it does not accept count like answers that do not come.
        """
        lane = self._lanes[backend]
        if not lane.busy and not lane.opening:
            return 0.0
        return self.now() - max(lane.heard_at or 0.0, lane.busy_since)

    def abandon(self, backend: str) -> None:
        """It hangs: whoever waits for it may go elsewhere, whoever connects gives up."""
        lane = self._lanes[backend]
        for patience in lane.opening:
            if not patience.expired():
                patience.reschedule(self.now())
        for connection in list(lane.busy):
            connection.stalled()

    def reuse(self, backend: Address) -> Connection | None:
        """An idle connection that the engine has not closed, if there is one."""
        idle = self._lanes[backend.id].idle
        oldest = self.now() - self._config.keepalive_seconds
        while idle:
            connection = idle.pop()
            if connection.heard_at >= oldest and not connection.transport.is_closing():
                connection.reused = True
                return connection
            connection.abort()
        return None

    async def connect(self, backend: Address) -> Connection:
        """A new connection; raises ConnectFailed."""
        lane = self._lanes[backend.id]
        patience = asyncio.timeout(self._config.connect_seconds)
        lane.begin(self.now())
        lane.opening.add(patience)
        try:
            async with patience:
                _, connection = await self.loop.create_connection(
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
        lane = connection.lane
        if lane.dropped:
            connection.transport.abort()
            return
        lane.idle.append(connection)
        if self._reaper is None:
            self._reaper = self.loop.call_later(self._config.keepalive_seconds, self._reap)

    def forget(self, connection: Connection) -> None:
        """The engine closed an idle connection."""
        if connection in connection.lane.idle:
            connection.lane.idle.remove(connection)
            connection.lane.broken_at = self.now()

    def drop(self, backend: str) -> None:
        """It is gone or elsewhere: keep no connection to it, those in use too once they are not."""
        lane = self._lanes.pop(backend, None)
        if lane is not None:
            lane.dropped = True
            for connection in lane.idle:
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

    def _reap(self) -> None:
        """Close what has been idle too long; look again while anything is kept."""
        oldest = self.now() - self._config.keepalive_seconds
        kept = False
        for lane in self._lanes.values():
            while lane.idle and lane.idle[0].heard_at <= oldest:
                lane.idle.popleft().abort()
            kept = kept or bool(lane.idle)
        self._reaper = (
            self.loop.call_later(self._config.keepalive_seconds, self._reap) if kept else None
        )

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()
