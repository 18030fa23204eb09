"""A server process's life: loop, listening socket, the signal to stop, draining."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

from aiohttp import web

BACKLOG = 1024
"""Connections that the kernel may hold for us: a burst of clients, as after a restart."""


class CannotListen(Exception):
    """The address is taken, or not ours; the message is one line for the operator."""


def run_loop(main: Coroutine[None, None, None]) -> None:
    """Run `main` on uvloop, or on asyncio's own loop where uvloop does not exist."""
    if sys.platform == "win32":
        asyncio.run(main)
        return
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


@asynccontextmanager
async def listening(runner: web.AppRunner, host: str, port: int) -> AsyncIterator[str]:
    """Serve inside the block; yields the base URL. Raises CannotListen.

    On the way out the listener closes at once, idle connections too, and open streams may go on for
    the runner's `shutdown_timeout`; what is left then is cut off.
    """
    await runner.setup()
    try:
        await _open(web.TCPSite(runner, host, port, backlog=BACKLOG), f"{host}:{port}")
        yield base_url(host, runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def _open(site: web.TCPSite, where: str) -> None:
    try:
        await site.start()
    except OSError as error:
        raise CannotListen(f"cannot listen on {where}: {error.strerror or error}") from error


def base_url(host: str, port: int) -> str:
    """An address that works on this machine, also when listening on every interface."""
    host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def termination() -> signal.Signals:
    """Wait for SIGTERM or SIGINT; a second one then has its usual effect and kills."""
    loop = asyncio.get_running_loop()
    received: asyncio.Future[signal.Signals] = loop.create_future()
    handled = (signal.SIGTERM, signal.SIGINT)
    for number in handled:
        loop.add_signal_handler(number, _receive, received, number)
    try:
        return await received
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


def _receive(received: asyncio.Future[signal.Signals], number: signal.Signals) -> None:
    if not received.done():
        received.set_result(number)
