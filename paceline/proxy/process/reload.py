"""Takes over a changed configuration while requests run, or refuses it whole."""

from __future__ import annotations

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from os import stat
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct, structs

from paceline.proxy.access import tls
from paceline.proxy.access.quotas import quotas
from paceline.proxy.config import Config, FleetConfig, ServerConfig
from paceline.proxy.http.memory import Memory
from paceline.proxy.http.server import Server
from paceline.proxy.process.load import ConfigError
from paceline.proxy.process.secure import Security, files, secure
from paceline.proxy.routes.app import crowd_of, limits_of

if TYPE_CHECKING:
    from paceline.proxy.process.compose import Proxy

WATCH_SECONDS = 1.0
"""How often files are looked at. A change counts once a look later found it unchanged: by then
whoever writes the file should be done."""
FIXED = (
    "server.host",
    "server.port",
    "server.workers",
    "server.cors_origins",
    "tls.client_ca_file",
    "admin.host",
    "admin.port",
    "log.record",
    "tracing.endpoint",
    "tracing.sample",
    "discovery",
    "scheduler.output_tokens",
    "scheduler.recent_requests",
    "upstream.probe_timeout_seconds",
    "models",
    *(f"fleet.{name}" for name in FleetConfig.__struct_fields__),
)
"""Settings that only a restart changes."""

Versions = list[tuple[int, int, int] | None]

log = structlog.get_logger()


class Reloader:
    """Reads the configuration again and applies what changed."""

    def __init__(
        self,
        proxy: Proxy,
        config: Config,
        reread: Callable[[], Config],
        context: ssl.SSLContext | None,
    ) -> None:
        self.config = config
        """The one that was applied last."""
        self._proxy = proxy
        self._reread = reread
        self._context = context

    def reload(self) -> bool:
        """Whether the new configuration was taken; if not, the log says why, and all stays."""
        try:
            config = self._reread()
            security = secure(config)
            self._check(config)
        except ConfigError as error:
            log.error("reload refused", error=str(error))
            self._proxy.reloaded("refused")
            return False
        changed = sorted(_differences(self.config, config))
        fixed = [path for path in changed if path in FIXED]
        if fixed:
            log.warning("a restart is needed", settings=fixed)
        self._apply(config, security)
        self.config = config
        self._proxy.reloaded("taken")
        log.info("reloaded", changed=[path for path in changed if path not in fixed])
        return True

    def _check(self, config: Config) -> None:
        if not config.backends and not config.discovery:
            if any(not one.name.startswith("emulated-") for one in self.config.backends):
                raise ConfigError("$.backends: there are none left; emulators start with the proxy")
            config.backends = self.config.backends
        if bool(config.tls.cert_file) != (self._context is not None):
            raise ConfigError("$.tls: only a restart turns it on or off")

    def _apply(self, config: Config, security: Security) -> None:
        proxy, gateway = self._proxy, self._proxy.gateway
        adopt(proxy.upstream, config.upstream)
        adopt(proxy.scheduling, config.scheduler)
        if self._context is not None:
            tls.present(self._context, config.tls)
        gateway.access.adopt(security.access)
        gateway.salts = security.salts
        gateway.admin.hosts = security.hosts
        gateway.config = structs.replace(config, upstream=proxy.upstream)
        if config.limits != self.config.limits:
            gateway.quotas = quotas(config.limits)
        for server in (proxy.server, proxy.admin_server):
            limit(server, config.server, gateway.memory)
        if config.scheduler != self.config.scheduler:
            proxy.backends.refresh()
        if config.log != self.config.log:
            proxy.log_as(config)
        if config.policy != self.config.policy:
            proxy.use(config.policy)
        proxy.backends.follow(self.config.backends, config.backends)


def limit(server: Server, config: ServerConfig, memory: Memory) -> None:
    """Have a server keep to other limits from its next connection on."""
    memory.limit = int(config.max_buffered_mb * 2**20)
    server.limits = limits_of(config, memory)
    server.drain_seconds = config.drain_seconds
    server.crowd.adopt(crowd_of(config))


def adopt(settings: Struct, others: Struct) -> None:
    """Give `settings`, which parts of the proxy hold, the values of `others`."""
    for name in settings.__struct_fields__:
        setattr(settings, name, getattr(others, name))


def _differences(before: Struct, now: Struct, path: str = "") -> Iterator[str]:
    """The paths of settings that differ."""
    for name in before.__struct_fields__:
        old, new = getattr(before, name), getattr(now, name)
        if isinstance(old, Struct):
            yield from _differences(old, new, f"{path}{name}.")
        elif old != new:
            yield path + name


@asynccontextmanager
async def reloading(reloader: Reloader, file: str) -> AsyncIterator[None]:
    """Inside the block, SIGHUP reloads, and so do changed files where the configuration says so."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, reloader.reload)
    watching = asyncio.create_task(_watch(reloader, file, _versions(reloader.config, file)))
    try:
        yield
    finally:
        watching.cancel()
        loop.remove_signal_handler(signal.SIGHUP)


async def _watch(reloader: Reloader, file: str, applied: Versions) -> None:
    seen = applied
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        before, seen = seen, _versions(reloader.config, file)
        if reloader.config.server.watch_files and seen == before != applied:
            applied = seen
            reloader.reload()


def _versions(config: Config, file: str) -> Versions:
    """What tells two versions of each file apart; None while one is missing."""
    return [_version(path) for path in [file, *files(config)] if path]


def _version(path: str) -> tuple[int, int, int] | None:
    try:
        found = stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
