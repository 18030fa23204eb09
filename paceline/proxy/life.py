"""The proxy's life as a process: from its start over its reloads to its last stream."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct, structs

from paceline.engines.emulator.app import start_emulator
from paceline.engines.emulator.config import EmulatorConfig
from paceline.proxy import log
from paceline.proxy.banner import banner
from paceline.proxy.compose import Proxy
from paceline.proxy.config import BackendConfig, Config
from paceline.proxy.listen import listening, open_files, run_loop, stop_signal
from paceline.proxy.recorder import Recorder
from paceline.proxy.reload import Reloader, reloading
from paceline.proxy.secure import Security, secure

if TYPE_CHECKING:
    from paceline.scheduler.snapshot import Snapshot

EMULATED = (EmulatorConfig(kind="vllm"), EmulatorConfig(kind="sglang"))
"""What stands in for engines when none is configured."""
COLLECT_AFTER = 50_000
"""New objects before the collector looks for cycles: a few MB."""


class Plan(Struct, frozen=True, kw_only=True):
    """What the command line asks for."""

    config: Config
    reread: Callable[[], Config]
    """Reads the configuration again; raises ConfigError."""
    file: str = ""
    """Where it stands; empty for nowhere."""
    replaces: int | None = None
    """Process id of the proxy whose port to take over."""


def run(plan: Plan) -> None:
    """Serve until SIGTERM or SIGINT; raises CannotListen, CannotRecord and ConfigError."""
    run_loop(serve(plan))


async def serve(plan: Plan) -> None:
    """Everything from start to drained; returns when the last stream has ended."""
    log.configure(plan.config.log)
    security = secure(plan.config)
    _need_files(plan.config.server.max_connections)
    async with AsyncExitStack() as stack:
        stopped = stack.enter_context(stop_signal())
        recorder = _recorder(plan.config, stack)
        config = await _with_backends(plan.config, stack)
        proxy = Proxy(config, security, recorder)
        proxy.monitor.start()
        proxy.discovery.start()
        stack.push_async_callback(proxy.close)
        if plan.replaces is not None:
            await proxy.settled()  # the other one serves meanwhile
        base = await _open(proxy, config, security, stack, shared=plan.replaces is not None)
        await proxy.settled()
        spare_the_collector()
        reloader = Reloader(proxy, config, plan.reread, security.tls)
        await stack.enter_async_context(reloading(reloader, plan.file))
        _announce(config, base, proxy.snapshot())
        if plan.replaces is not None:
            os.kill(plan.replaces, signal.SIGTERM)
        number = await stopped
        proxy.stopping = True
        structlog.get_logger().info("draining", signal=number.name)
        await asyncio.sleep(proxy.gateway.config.server.grace_seconds)


async def _open(
    proxy: Proxy, config: Config, security: Security, stack: AsyncExitStack, *, shared: bool
) -> str:
    """Listen; returns the base URL. The admins' listener closes last, to watch the draining."""
    admin, at = config.admin, config.server
    if admin.port is not None:
        place = listening(proxy.admin_server, admin.host, admin.port, security.tls, shared=shared)
        url = await stack.enter_async_context(place)
        structlog.get_logger().info("admins", address=url)
    place = listening(proxy.server, at.host, at.port, security.tls, shared=shared)
    return await stack.enter_async_context(place)


def _need_files(connections: int) -> None:
    """Each connection takes a file descriptor, and up to one more at an engine."""
    have = open_files()
    if have < 2 * connections:
        structlog.get_logger().warning(
            "few open files allowed", have=have, want=2 * connections, see="ulimit -n"
        )


def spare_the_collector() -> None:
    """Let Python's cycle collector leave alone what stays, and look at the rest less often.

    A request leaves no cycles behind, but each look goes through all that is young: at the usual
    700 objects that is every few requests, 4% of the time (docs/performance.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


def _recorder(config: Config, stack: AsyncExitStack) -> Recorder | None:
    """What records the events, if that is wanted; it is closed with `stack`."""
    if config.log.record is None:
        return None
    recorder = Recorder(Path(config.log.record), asyncio.get_running_loop().time())
    stack.push_async_callback(asyncio.to_thread, recorder.close)
    return recorder


async def _with_backends(config: Config, stack: AsyncExitStack) -> Config:
    """`config`, with two emulated engines in it if it has none; they end with `stack`."""
    if config.backends or config.discovery:
        return config
    backends = []
    for emulated in EMULATED:
        emulator = await start_emulator(emulated, "127.0.0.1", 0)
        stack.push_async_callback(emulator.close)
        backends.append(BackendConfig(url=emulator.url, name=f"emulated-{emulated.kind}"))
    return structs.replace(config, backends=backends)


def _announce(config: Config, base: str, snapshot: Snapshot) -> None:
    if config.log.format == "console":
        print(banner(config, base, snapshot.backends), flush=True)
    else:
        names = [backend.id for backend in snapshot.backends]
        structlog.get_logger().info(
            "listening", address=base, policy=config.policy.name, backends=names
        )
