"""Follows sources of backends: what they find comes and goes as through `/paceline/backends`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct

from paceline.proxy.config import BackendConfig, DiscoveryConfig
from paceline.proxy.upstream.address import BadAddress

if TYPE_CHECKING:
    from paceline.proxy.upstream.backends import Backends

log = structlog.get_logger()


class Found(Struct, frozen=True, order=True):
    """One engine that a source knows."""

    host: str
    port: int
    name: str = ""
    """Host and port unless given."""


Finds = AsyncGenerator[Sequence[Found], None]
"""All engines that there are, again and again as they change; never ends."""
Source = Callable[[DiscoveryConfig], Finds]


def source_of(config: DiscoveryConfig) -> Finds:
    """What the configuration asks for; modules are imported only where they are needed."""
    if config.service:
        from paceline.proxy.discovery.kubernetes import in_cluster, watched

        return watched(config, in_cluster())
    from paceline.proxy.discovery.dns import resolved  # needs dnspython, an extra

    return resolved(config)


class Discovery:
    """Runs one task a source, from `start` to `close`."""

    def __init__(
        self,
        configs: Sequence[DiscoveryConfig],
        backends: Backends,
        source: Source = source_of,
    ) -> None:
        self._configs = configs
        self._backends = backends
        self._source = source
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to look; must be called on the running loop, once, when backends are watched."""
        for config in self._configs:
            task = asyncio.create_task(self._follow(config), name=f"discover {place(config)}")
            self._tasks.append(task)

    async def close(self) -> None:
        """Look no longer; the backends stay as they are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, config: DiscoveryConfig) -> None:
        ours: list[BackendConfig] = []
        try:
            async with aclosing(self._source(config)) as source:
                async for found in source:
                    ours = self._apply(config, ours, found)
        except Exception:
            log.exception("discovery ended", source=place(config))

    def _apply(
        self, config: DiscoveryConfig, ours: list[BackendConfig], found: Sequence[Found]
    ) -> list[BackendConfig]:
        """The backends of this source from now on."""
        known = {one.name for one in ours}
        now = []
        for one in (backend_of(config, each) for each in found):
            if one.name in known or self._free(one.name):
                now.append(one)
            else:
                log.warning("found twice", backend=one.name, source=place(config))
        try:
            self._backends.follow(ours, now)
        except BadAddress as error:
            log.error("found what is no engine", source=place(config), error=str(error))
            return ours
        return now

    def _free(self, name: str) -> bool:
        """Whether no other source and no `[[backends]]` has it."""
        return name not in self._backends.directory or self._backends.leaving(name)


def place(config: DiscoveryConfig) -> str:
    """Where it looks, for the log."""
    return config.service or config.srv or config.host


def backend_of(config: DiscoveryConfig, found: Found) -> BackendConfig:
    """The configuration of a backend that was found."""
    host = f"[{found.host}]" if ":" in found.host else found.host
    return BackendConfig(
        url=f"{config.scheme}://{host}:{found.port}",
        name=found.name or f"{host}:{found.port}",
        kind=config.kind,
        leader_first=config.leader_first,
        api_key_env=config.api_key_env,
        ca_file=config.ca_file,
        cert_file=config.cert_file,
    )
