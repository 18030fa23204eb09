"""A server process's life: loop, listening socket, the signal to stop, draining."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager

from paceline.proxy.server import Server

BACKLOG = 1024
"""Connections that the kernel may hold for us: a burst of clients, as after a restart."""


class CannotListen(Exception):
    """The address is taken, or not ours; the message is one line for the operator."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        super().__init__(f"cannot listen on {host}:{port}: {error.strerror or error}")


def run_loop(main: Coroutine[None, None, None]) -> None:
    """Run `main` on uvloop, or on asyncio's own loop where uvloop does not exist."""
    if sys.platform == "win32":
        asyncio.run(main)
        return
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


@asynccontextmanager
async def listening(server: Server, host: str, port: int) -> AsyncIterator[str]:
    """Serve inside the block; yields the base URL. Raises CannotListen.

    On the way out the listener closes at once, idle connections too, and open streams may go on for
    the server's `drain_seconds`; what is left then is cut off.
    """
    loop = asyncio.get_running_loop()
    try:
        listener = await loop.create_server(server.connection, host, port, backlog=BACKLOG)
    except OSError as error:
        raise CannotListen(host, port, error) from error
    try:
        yield base_url(host, listener.sockets[0].getsockname()[1])
    finally:
        listener.close()
        await server.drain()


def base_url(host: str, port: int) -> str:
    """An address that works on this machine, also when listening on every interface."""
    host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def stop_signal() -> Iterator[asyncio.Future[signal.Signals]]:
    """A future that gets the first SIGTERM or SIGINT; a second one has its usual effect and kills.

    Enter it before telling anybody that the process runs: they may stop it at once.
    """
    loop = asyncio.get_running_loop()
    received: asyncio.Future[signal.Signals] = loop.create_future()

    def receive(number: signal.Signals) -> None:
        received.set_result(number)
        release()

    def release() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, receive, number)
    try:
        yield received
    finally:
        release()
