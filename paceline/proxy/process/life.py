"""The proxy's life as a process: from its start over its reloads to its last stream."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct, structs

from paceline.proxy.config import BackendConfig, Config
from paceline.proxy.process.banner import banner
from paceline.proxy.process.collector import spare_the_collector
from paceline.proxy.process.compose import Proxy
from paceline.proxy.process.heap import keep_the_heap
from paceline.proxy.process.listen import listening, open_files, run_loop, stop_signal
from paceline.proxy.process.reload import Reloader, reloading
from paceline.proxy.process.secure import Security, secure
from paceline.proxy.telemetry import log
from paceline.proxy.telemetry.recorder import Recorder

if TYPE_CHECKING:
    from paceline.scheduler.snapshot import Snapshot

# Emulator and workers are imported where they are wanted: a proxy with engines of its own has
# nothing of aiohttp's server and the engine models, a tenth of the CPU time that a start takes.


class CannotReplace(Exception):
    """This proxy would serve worse than the one it was to replace; one line for the operator."""


class Plan(Struct, frozen=True, kw_only=True):
    """What the command line asks for."""

    config: Config
    reread: Callable[[], Config]
    """Reads the configuration again; raises ConfigError."""
    file: str = ""
    """Where it stands; empty for nowhere."""
    replaces: int | None = None
    """Process id of the proxy whose port to take over."""
    attend: Callable[[Proxy], None] | None = None
    """Called with the proxy before it serves."""


def run(plan: Plan) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises CannotListen, CannotReplace, CannotRecord and ConfigError.
    """
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
        proxy = _proxy(config, security, recorder)
        if plan.attend is not None:
            plan.attend(proxy)
        proxy.monitor.start()
        proxy.discovery.start()
        if proxy.fleet is not None:
            proxy.fleet.start()
        stack.push_async_callback(proxy.close)
        if plan.replaces is not None:
            await _be_ready(proxy)  # the other one serves meanwhile
        base = await _open(proxy, config, security, stack, shared=plan.replaces is not None)
        await proxy.settled()
        keep_the_heap()
        spare_the_collector()
        reloader = Reloader(proxy, config, plan.reread, security.tls)
        await stack.enter_async_context(reloading(reloader, plan.file))
        _announce(config, base, proxy.snapshot())
        if plan.replaces is not None:
            _stop(plan.replaces)
        number = await stopped
        proxy.stopping = True
        structlog.get_logger().info("draining", signal=number.name)
        await asyncio.sleep(proxy.gateway.config.server.grace_seconds)


async def _be_ready(proxy: Proxy) -> None:
    await proxy.settled()
    if not proxy.gateway.ready():
        raise CannotReplace("no backend is up: the other proxy goes on")


async def _open(
    proxy: Proxy, config: Config, security: Security, stack: AsyncExitStack, *, shared: bool
) -> str:
    """Listen; returns the base URL. The admins' listener closes last, to watch the draining."""
    admin, at = config.admin, config.server
    if admin.port is not None:
        place = listening(proxy.admin_server, admin.host, admin.port, security.tls, shared=shared)
        url = await stack.enter_async_context(place)
        structlog.get_logger().info("admins", address=url)
    if at.workers > 1:
        from paceline.proxy.workers.crew import staffed
        from paceline.proxy.workers.parent import Parent

        assert isinstance(proxy, Parent)
        return await stack.enter_async_context(staffed(proxy, config, shared=shared))
    place = listening(proxy.server, at.host, at.port, security.tls, shared=shared)
    return await stack.enter_async_context(place)


def _stop(process: int) -> None:
    try:
        os.kill(process, signal.SIGTERM)
    except OSError as error:  # gone already, or another user's
        structlog.get_logger().warning("not replaced", process=process, error=error.strerror)


def _need_files(connections: int) -> None:
    """Each connection takes a file descriptor, and up to one more at an engine."""
    have = open_files()
    if have < 2 * connections:
        structlog.get_logger().warning(
            "few open files allowed", have=have, want=2 * connections, see="ulimit -n"
        )


def _proxy(config: Config, security: Security, recorder: Recorder | None) -> Proxy:
    """All of it in this process, or the part that decides for the workers."""
    if config.server.workers < 2:
        return Proxy(config, security, recorder)
    from paceline.proxy.workers.parent import Parent

    return Parent(config, security, recorder)


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
    from paceline.engines.emulator.app import start_emulator
    from paceline.engines.emulator.config import EmulatorConfig

    backends = []
    for emulated in (EmulatorConfig(kind="vllm"), EmulatorConfig(kind="sglang")):
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
