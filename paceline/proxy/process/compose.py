"""Composes the proxy out of its parts: each is made here once, and wired to the others."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import structlog
from msgspec import structs

from paceline.policies.fcfs import Fcfs
from paceline.policies.guard import guard
from paceline.policies.registry import load
from paceline.proxy.access.quotas import quotas
from paceline.proxy.config import Config, PolicyConfig
from paceline.proxy.discovery.sources import Discovery
from paceline.proxy.fleet.join import join
from paceline.proxy.fleet.report import FleetCollector, fleet_state
from paceline.proxy.http.memory import Memory
from paceline.proxy.kv_events.follower import follower
from paceline.proxy.process.secure import Security, secure
from paceline.proxy.routes.admin import Admin
from paceline.proxy.routes.app import build_admin_server, build_server
from paceline.proxy.serving.driver import Driver
from paceline.proxy.serving.gateway import FullGateway
from paceline.proxy.serving.ratio import TokenRatio
from paceline.proxy.serving.tokenizing import tokenizers
from paceline.proxy.telemetry import log
from paceline.proxy.telemetry.metrics import CONTENT_TYPE, Metrics
from paceline.proxy.telemetry.recorder import Recorder
from paceline.proxy.telemetry.state import EngineState, state_json
from paceline.proxy.telemetry.tracing import tracing
from paceline.proxy.ui.board import Boards, Now
from paceline.proxy.ui.page import Dashboard
from paceline.proxy.upstream.backends import Backends
from paceline.proxy.upstream.directory import Directory
from paceline.proxy.upstream.monitor import Monitor
from paceline.proxy.upstream.pool import Pool
from paceline.proxy.upstream.retries import RetryBudget
from paceline.scheduler.events import Action, BackendChanged, Event
from paceline.scheduler.policy import Policy
from paceline.scheduler.scheduler import Scheduler

if TYPE_CHECKING:
    from paceline.proxy.serving.tokenizing import Tokenizers
    from paceline.proxy.telemetry.record import Record
    from paceline.scheduler.snapshot import Snapshot

SETTLE_SECONDS = 2.0
"""Longest wait for the engines' first answers before saying what was found: a local one answers in
milliseconds, one that is loading its weights in minutes."""


class Proxy:
    """The parts of one proxy; needs a running loop."""

    def __init__(
        self, config: Config, security: Security | None = None, recorder: Recorder | None = None
    ) -> None:
        """Raises ConfigError where `security` is not given and cannot be read."""
        self._loop = loop = asyncio.get_running_loop()
        security = security or secure(config)
        self.stopping = False
        """Whether it takes in what comes, but is not ready for more."""
        self.policy = config.policy
        """The one in use."""
        self.engines: Callable[[], Sequence[EngineState]] = list
        """What to show of engines that this process has started."""
        # Reloads change the settings in place: the parts keep what they were given.
        self.upstream = structs.replace(config.upstream)
        self.scheduling = structs.replace(config.scheduler)
        policy = self._guarded(config.policy)
        scheduler = Scheduler(self.scheduling, policy, secrets.randbits(64))
        self._directory = Directory(config.backends)
        self._all_up = asyncio.Event()
        self.driver = Driver(scheduler, loop, self._observe)
        self._recorder = recorder
        self.fleet = join(config.fleet, security.shared, self.driver)
        """The other proxies; None where there are none."""
        self._boards = Boards(scheduler, self._directory, self._seen)
        self._metrics = Metrics(
            self.snapshot,
            *([recorder] if recorder else []),
            *([FleetCollector(self.fleet)] if self.fleet else []),
            lines_dropped=lambda: log.stderr().dropped,
        )
        self._log_request = log.request_logger(config.log)
        pool = self._pool(loop)
        seed = secrets.token_bytes(16) if security.shared is None else security.shared.seed
        models = tokenizers(config.models)
        follow = partial(follower, sink=self.driver, models=models, seed=seed)
        self.monitor = Monitor(self._directory, self.driver, pool, self.upstream, follow)
        self.backends = Backends(self._directory, self.driver, pool, self.monitor)
        self.discovery = Discovery(config.discovery, self.backends)
        self._started_at = loop.time()
        self.gateway = self._gateway(config, security, pool, seed, models)
        self.server = build_server(self.gateway)
        self.admin_server = build_admin_server(self.gateway)

    def _gateway(
        self, config: Config, security: Security, pool: Pool, seed: bytes, models: Tokenizers
    ) -> FullGateway:
        """What the routes reach; `seed` is of the prompts' block keys."""
        return FullGateway(
            config=structs.replace(config, upstream=self.upstream),
            driver=self.driver,
            pool=pool,
            directory=self._directory,
            on_record=self._on_record,
            on_refused=self._metrics.connection_refused,
            ratio=TokenRatio(),
            retries=RetryBudget(self._started_at),
            memory=Memory(int(config.server.max_buffered_mb * 2**20), self.driver.retry_after),
            quotas=quotas(config.limits),
            seed=seed,
            access=security.access,
            salts=security.salts,
            cors=security.cors,
            tokenizers=models,
            tracing=tracing(config.tracing),
            admin=Admin(self.backends, security.hosts),
            ready=self._ready,
            metrics=lambda: (self._metrics.render(), CONTENT_TYPE),
            state=self._state,
            dashboard=Dashboard(
                lambda: self._boards.state(self.driver.now()), lambda: self._seen().recording
            ),
        )

    async def close(self) -> None:
        """Leave the fleet, stop watching the backends, and close what is kept open to them."""
        if self.fleet is not None:
            await self.fleet.close()
        await self.discovery.close()
        await self.backends.close()
        await self.monitor.close()
        self.gateway.pool.close()
        if self.gateway.tracing is not None:
            await self.gateway.tracing.close()

    def snapshot(self) -> Snapshot:
        """The scheduler as it is now."""
        return self.driver.scheduler.snapshot(self.driver.now())

    async def settled(self) -> None:
        """Wait until every backend has answered, or for `SETTLE_SECONDS`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._all_up.wait(), SETTLE_SECONDS)

    def use(self, policy: PolicyConfig) -> None:
        """Schedule by another policy; raises PolicyError or SettingError and changes nothing."""
        self.driver.use(self._guarded(policy))
        self.policy = policy

    def reloaded(self, result: str) -> None:
        """Count a reload."""
        self._metrics.reloaded(result)

    def log_as(self, config: Config) -> None:
        """Log in another format or from another level."""
        log.configure(config.log)
        self._log_request = log.request_logger(config.log)

    def _pool(self, loop: asyncio.AbstractEventLoop) -> Pool:
        return Pool(self.upstream, loop)

    def _guarded(self, config: PolicyConfig) -> Policy:
        crashed = False

        def on_crash(method: str, error: Exception) -> None:
            nonlocal crashed
            self._metrics.policy_crashed()
            if not crashed:
                crashed = True
                structlog.get_logger().error(
                    "policy crashed, going on with fcfs",
                    policy=config.name,
                    method=method,
                    exc_info=error,
                )
                self._loop.call_soon(self._fall_back, config)

        return guard(load(config.name, config.settings), on_crash)

    def _fall_back(self, crashed: PolicyConfig) -> None:
        if self.policy is crashed:
            self.driver.use(Fcfs())
            self.policy = PolicyConfig(name="fcfs")

    def _observe(self, event: Event, actions: list[Action], now: float) -> None:
        if self._recorder is not None:
            self._recorder.note(event, actions, now)
        if self.fleet is not None:
            self.fleet.note(event, actions)
        if actions:
            self._boards.decided(actions, now)
        # not `isinstance`, which msgspec's metaclass makes thrice as long: most events are others
        if type(event) is BackendChanged and all(entry.up for entry in self._directory):
            self._all_up.set()

    def _on_record(self, record: Record) -> None:
        self._metrics.record(record)
        self._boards.ended(record)
        self._log_request(record)

    def _ready(self) -> bool:
        return not self.stopping and bool(self._directory.up())

    def _seen(self) -> Now:
        recording = None if self._recorder is None else str(self._recorder.path)
        uptime = self._loop.time() - self._started_at
        name = self.policy.name
        return Now(config=self.gateway.config, policy=name, uptime=uptime, recording=recording)

    def _state(self) -> bytes:
        config = structs.replace(self.gateway.config, policy=self.policy)
        now, fleet = self._loop.time(), None
        if self.fleet is not None:
            fleet = fleet_state(self.fleet, config.fleet.cell, now)
        uptime = now - self._started_at
        return state_json(config, self.snapshot(), uptime, self.engines(), fleet)
