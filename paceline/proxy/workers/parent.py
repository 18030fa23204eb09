"""The proxy whose connections are its workers': all of one that decides, nothing that forwards."""

from __future__ import annotations

import asyncio
import math
from typing import TypeVar

from msgspec import structs

from paceline.proxy.config import Config, TenantLimits
from paceline.proxy.process.compose import Proxy
from paceline.proxy.process.secure import Security
from paceline.proxy.routes.app import pages
from paceline.proxy.telemetry.recorder import Recorder
from paceline.proxy.upstream.pool import Pool
from paceline.proxy.workers.hub import Hub, Worker, shown
from paceline.proxy.workers.messages import Begin, Reloaded, Removed
from paceline.proxy.workers.traffic import SharedPool
from paceline.scheduler.events import Action, BackendChanged, BackendRemoved, Event

L = TypeVar("L", bound=TenantLimits)


class Parent(Proxy):
    """Wires the hub to the scheduler, the health checks and the pages; tells it what changes."""

    def __init__(
        self, config: Config, security: Security | None = None, recorder: Recorder | None = None
    ) -> None:
        super().__init__(config, security, recorder)
        pool = self.gateway.pool
        assert isinstance(pool, SharedPool)
        gateway = self.gateway
        self.hub = Hub(gateway, self.driver, pool, self._metrics, pages(gateway))
        self.hub.ended = self._boards.ended

    def connect(self, host: str, port: int, up: asyncio.Event) -> Worker:
        """A new worker, which is to listen there; `up` is set once it does."""
        begin = Begin(portion(self.gateway.config), self.gateway.seed, host, port)
        return self.hub.connect(begin, up)

    def worker_restarted(self) -> None:
        """Count a worker that died."""
        self._metrics.worker_restarted()

    def reloaded(self, result: str) -> None:
        """Count a reload, and have the workers follow."""
        super().reloaded(result)
        if result == "taken":
            self.hub.tell(Reloaded(portion(self.gateway.config)))

    def _pool(self, loop: asyncio.AbstractEventLoop) -> Pool:
        return SharedPool(self.upstream, loop)

    def _observe(self, event: Event, actions: list[Action], now: float) -> None:
        super()._observe(event, actions, now)
        if isinstance(event, BackendChanged):
            self.hub.tell(shown(self.gateway.directory[event.backend.id]))
        elif isinstance(event, BackendRemoved):
            self.hub.tell(Removed(event.id))


def portion(config: Config) -> Config:
    """The configuration of one worker: what a process, or a tenant, is limited to is divided."""
    server, limits = config.server, config.limits
    workers = server.workers
    return structs.replace(
        config,
        backends=[],
        server=structs.replace(
            server,
            max_connections=math.ceil(server.max_connections / workers),
            max_connections_per_address=math.ceil(server.max_connections_per_address / workers),
            max_buffered_mb=server.max_buffered_mb / workers,
        ),
        limits=structs.replace(
            _part(limits, workers),
            tenants={name: _part(one, workers) for name, one in limits.tenants.items()},
        ),
    )


def _part(limits: L, workers: int) -> L:
    most, rate = limits.max_requests, limits.requests_per_second
    tokens = limits.prompt_tokens_per_second
    return structs.replace(
        limits,
        max_requests=None if most is None else math.ceil(most / workers),
        requests_per_second=None if rate is None else rate / workers,
        prompt_tokens_per_second=None if tokens is None else tokens / workers,
    )
