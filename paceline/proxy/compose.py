"""Composes the proxy out of its parts, and runs it from start to drained."""

from __future__ import annotations

import asyncio
import gc
import secrets
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import msgspec
import structlog

from paceline.engines.emulator.app import start_emulator
from paceline.engines.emulator.config import EmulatorConfig
from paceline.policies.registry import load
from paceline.proxy import log
from paceline.proxy.app import build_server
from paceline.proxy.banner import banner
from paceline.proxy.config import BackendConfig, Config
from paceline.proxy.directory import Directory
from paceline.proxy.driver import Driver
from paceline.proxy.gateway import Gateway
from paceline.proxy.listen import listening, run_loop, stop_signal
from paceline.proxy.metrics import CONTENT_TYPE, Metrics
from paceline.proxy.monitor import Monitor
from paceline.proxy.quotas import quotas
from paceline.proxy.ratio import TokenRatio
from paceline.proxy.retries import RetryBudget
from paceline.proxy.state import state_json
from paceline.proxy.upstream import Pool
from paceline.scheduler.events import Action, BackendChanged, Event
from paceline.scheduler.scheduler import Scheduler

if TYPE_CHECKING:
    from paceline.proxy.record import Record
    from paceline.scheduler.snapshot import Snapshot

EMULATED = (EmulatorConfig(kind="vllm"), EmulatorConfig(kind="sglang"))
"""What stands in for engines when none is configured."""
SETTLE_SECONDS = 2.0
"""Longest wait for the engines' first answers before saying what was found: a local one answers in
milliseconds, one that is loading its weights in minutes."""

COLLECT_AFTER = 50_000
"""New objects before the collector looks for cycles: a few MB."""


def run(config: Config) -> None:
    """Serve until SIGTERM or SIGINT; raises CannotListen."""
    run_loop(serve(config))


async def serve(config: Config) -> None:
    """Everything from start to drained; returns when the last stream has ended."""
    log.configure(config.log)
    async with AsyncExitStack() as stack:
        stopped = stack.enter_context(stop_signal())
        config = await _with_backends(config, stack)
        proxy = Proxy(config)
        proxy.monitor.start()
        stack.push_async_callback(proxy.monitor.close)
        server = build_server(proxy.gateway)
        at = config.server
        base = await stack.enter_async_context(listening(server, at.host, at.port))
        await proxy.settled()
        spare_the_collector()
        _announce(config, base, proxy.snapshot())
        number = await stopped
        proxy.stopping = True
        structlog.get_logger().info("draining", signal=number.name)


class Proxy:
    """The parts of one proxy, wired to each other; needs a running loop."""

    def __init__(self, config: Config) -> None:
        loop = asyncio.get_running_loop()
        policy = load(config.policy.name, config.policy.settings)
        scheduler = Scheduler(config.scheduler, policy, secrets.randbits(64))
        self.stopping = False
        self._directory = Directory(config.backends)
        self._all_up = asyncio.Event()
        self._driver = Driver(scheduler, loop, self._observe)
        self._metrics = Metrics(self.snapshot, lambda: log.stderr().dropped)
        self._log_request = log.request_logger(config.log)
        pool = Pool(config.upstream, loop)
        self.monitor = Monitor(self._directory, self._driver, pool, config.upstream)
        started_at = loop.time()
        self.gateway = Gateway(
            config=config,
            driver=self._driver,
            pool=pool,
            directory=self._directory,
            on_record=self._on_record,
            ratio=TokenRatio(),
            retries=RetryBudget(started_at),
            quotas=quotas(config.limits),
            seed=secrets.token_bytes(16),
            ready=self._ready,
            metrics=lambda: (self._metrics.render(), CONTENT_TYPE),
            state=lambda: state_json(config, self.snapshot(), loop.time() - started_at),
        )

    def snapshot(self) -> Snapshot:
        """The scheduler as it is now."""
        return self._driver.scheduler.snapshot(self._driver.now())

    async def settled(self) -> None:
        """Wait until every backend has answered, or for `SETTLE_SECONDS`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._all_up.wait(), SETTLE_SECONDS)

    def _observe(self, event: Event, actions: list[Action], now: float) -> None:
        if isinstance(event, BackendChanged) and all(entry.up for entry in self._directory):
            self._all_up.set()

    def _on_record(self, record: Record) -> None:
        self._metrics.record(record)
        self._log_request(record)

    def _ready(self) -> bool:
        return not self.stopping and bool(self._directory.up())


def spare_the_collector() -> None:
    """Let Python's cycle collector leave alone what stays, and look at the rest less often.

    A request leaves no cycles behind, but each look goes through all that is young: at the usual
    700 objects that is every few requests, 4% of the time (docs/performance.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


async def _with_backends(config: Config, stack: AsyncExitStack) -> Config:
    """`config`, with two emulated engines in it if it has none; they end with `stack`."""
    if config.backends:
        return config
    backends = []
    for emulated in EMULATED:
        emulator = await start_emulator(emulated, "127.0.0.1", 0)
        stack.push_async_callback(emulator.close)
        backends.append(BackendConfig(url=emulator.url, name=f"emulated-{emulated.kind}"))
    return msgspec.structs.replace(config, backends=backends)


def _announce(config: Config, base: str, snapshot: Snapshot) -> None:
    if config.log.format == "console":
        print(banner(config, base, snapshot.backends), flush=True)
    else:
        names = [backend.id for backend in snapshot.backends]
        structlog.get_logger().info(
            "listening", address=base, policy=config.policy.name, backends=names
        )
