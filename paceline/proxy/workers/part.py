"""The half of a proxy that a worker has: it forwards, and asks its parent for the rest."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from msgspec import structs

from paceline.proxy.access import tls
from paceline.proxy.access.quotas import quotas
from paceline.proxy.config import Config
from paceline.proxy.http.memory import Memory
from paceline.proxy.process.reload import adopt, limit
from paceline.proxy.process.secure import Security, secure
from paceline.proxy.routes.app import client_server, forwarding
from paceline.proxy.serving.gateway import Gateway
from paceline.proxy.serving.stored import Kept, Stored
from paceline.proxy.serving.tokenizing import tokenizers
from paceline.proxy.telemetry import log
from paceline.proxy.telemetry.metrics import Metrics
from paceline.proxy.telemetry.record import Record
from paceline.proxy.telemetry.tracing import tracing
from paceline.proxy.upstream.address import reach
from paceline.proxy.upstream.directory import Directory
from paceline.proxy.upstream.pool import Pool
from paceline.proxy.upstream.retries import RetryBudget
from paceline.proxy.workers.messages import (
    Abandoned,
    Answered,
    Backend,
    Begin,
    Ended,
    Moved,
    Ratios,
    Removed,
    ToParent,
    ToWorker,
)
from paceline.proxy.workers.pages import Pages
from paceline.proxy.workers.remote import RemoteDriver, RemoteRatio, RemoteStanding
from paceline.scheduler.events import Dispatch, Reject

MOST_ENDED = 2048
"""Records that wait to be told, once a second: each costs the parent 2 us."""
RETRY_SECONDS = 1.0
"""When to try again after the memory was full: how fast the queue drains only the parent knows."""


class Part:
    """Everything of one worker but its process; needs a running loop."""

    def __init__(self, begin: Begin, security: Security, send: Callable[[ToParent], None]) -> None:
        loop = asyncio.get_running_loop()
        self._send = send
        self._tls = security.tls
        # The pool keeps this copy, reloads fill it.
        self._upstream = structs.replace(begin.config.upstream)
        self._driver = RemoteDriver(send, loop)
        self._ratio = RemoteRatio(send)
        self._pages = Pages(send)
        self._ended: deque[Record] = deque(maxlen=MOST_ENDED)
        self._log_request = log.request_logger(begin.config.log)
        self.metrics = Metrics()
        """Counts requests until the parent is told."""
        self.gateway = Gateway(
            config=structs.replace(begin.config, upstream=self._upstream),
            driver=self._driver,
            pool=Pool(self._upstream, loop),
            directory=Directory([]),
            on_record=self._on_record,
            on_refused=self.metrics.connection_refused,
            ratio=self._ratio,
            retries=RetryBudget(loop.time()),
            memory=Memory(int(begin.config.server.max_buffered_mb * 2**20), lambda: RETRY_SECONDS),
            quotas=quotas(begin.config.limits),
            seed=begin.seed,
            access=security.access,
            salts=security.salts,
            cors=security.cors,
            stored=Stored(send),
            tokenizers=tokenizers(begin.config.models),
            tracing=tracing(begin.config.tracing),
        )
        handler = forwarding(self.gateway, self._pages.ask)
        self.server = client_server(self.gateway, handler)

    def take(self, message: ToWorker) -> None:
        """What the parent decided, answered, or found out."""
        match message:
            case Dispatch() | Reject():
                self._driver.decided(message)
            case Answered():
                self._pages.answered(message)
            case Backend():
                self._show(message)
            case Removed(id):
                self.gateway.directory.remove(id)
            case Moved(id):
                self.gateway.pool.drop(id)
            case Abandoned(id):
                self.gateway.pool.abandon(id)
            case Kept():
                self.gateway.stored.learn(message)
            case Ratios(ratios):
                self._ratio.update(ratios)
            case _:
                pass

    def reload(self, config: Config) -> None:
        """Follow a change of the configuration; raises ConfigError and changes nothing."""
        security, gateway = secure(config), self.gateway
        adopt(self._upstream, config.upstream)
        if self._tls is not None:
            tls.present(self._tls, config.tls)
        gateway.access.adopt(security.access)
        gateway.salts = security.salts
        if config.log != gateway.config.log:
            log.configure(config.log)
            self._log_request = log.request_logger(config.log)
        if config.limits != gateway.config.limits:
            gateway.quotas = quotas(config.limits)
        gateway.config = structs.replace(config, upstream=self._upstream)
        limit(self.server, config.server, gateway.memory)

    def take_ended(self) -> Ended:
        """The requests that ended since the last time, `MOST_ENDED` at most."""
        ended = Ended(list(self._ended))
        self._ended.clear()
        return ended

    async def close(self) -> None:
        """Close the connections to engines: nobody uses them any more. Export the last spans."""
        self.gateway.pool.close()
        if self.gateway.tracing is not None:
            await self.gateway.tracing.close()

    def abandon(self) -> None:
        """The parent is gone: whoever waits for it is told so; streams go on."""
        self._driver.abandon()
        self._pages.abandon()

    def _show(self, backend: Backend) -> None:
        """Note a backend as it is now."""
        config, directory = backend.config, self.gateway.directory
        if config.name not in directory:
            directory.add(config).standing = RemoteStanding(config.name, self._send)
        entry = directory[config.name]
        if entry.config != config:
            entry.config, entry.address = config, reach(config)
        entry.kind, entry.models = backend.kind, backend.models
        entry.up, entry.draining = backend.up, backend.draining

    def _on_record(self, record: Record) -> None:
        self.metrics.record(record)
        self._ended.append(record)
        self._log_request(record)
