"""The proxy whose connections are its workers': all of one that decides, nothing that forwards."""

from __future__ import annotations

import asyncio
import math

from msgspec import structs

from paceline.proxy.app import pages
from paceline.proxy.compose import Proxy
from paceline.proxy.config import Config
from paceline.proxy.recorder import Recorder
from paceline.proxy.secure import Security
from paceline.proxy.upstream import Pool
from paceline.proxy.workers.hub import Hub, Worker, shown
from paceline.proxy.workers.messages import Begin, Reloaded, Removed
from paceline.proxy.workers.traffic import SharedPool
from paceline.scheduler.events import Action, BackendChanged, BackendRemoved, Event


class Parent(Proxy):
    """Wires the hub to the scheduler, the health checks and the pages; tells it what changes."""

    def __init__(
        self, config: Config, security: Security | None = None, recorder: Recorder | None = None
    ) -> None:
        super().__init__(config, security, recorder)
        pool = self.gateway.pool
        assert isinstance(pool, SharedPool)
        gateway = self.gateway
        self.hub = Hub(self.driver, pool, gateway.ratio, self._metrics, pages(gateway))

    def connect(self, host: str, port: int, up: asyncio.Event) -> Worker:
        """A new worker, which is to listen there; `up` is set once it does."""
        begin = Begin(portion(self.gateway.config), self.gateway.seed, host, port)
        return self.hub.connect(begin, list(self.gateway.directory), up)

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
    """The configuration of one worker: what the process is limited to is divided among them."""
    server = config.server
    most = math.ceil(server.max_connections / server.workers)
    return structs.replace(
        config, backends=[], server=structs.replace(server, max_connections=most)
    )
