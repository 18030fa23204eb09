"""A server process's life: loop, listening socket, the signal to stop, draining."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from errno import errorcode
from functools import partial

from paceline.proxy.http.server import Server

BACKLOG = 1024
"""Connections that the kernel may hold for us: a burst of clients, as after a restart."""


class CannotListen(Exception):
    """The address is taken, or not ours; the message is one line for the operator."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        number = error.errno or 0
        known = number in errorcode  # the loop would name the address again
        why = os.strerror(number) if known else error.strerror or error
        super().__init__(f"cannot listen on {host}:{port}: {why}")


def open_files() -> int:
    """How many files this process may have open, after asking for as many as it can get."""
    if sys.platform == "win32":
        return 8192  # what its C runtime allows at most
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def run_loop(main: Coroutine[None, None, None]) -> None:
    """Run `main` on uvloop, or on asyncio's own loop where uvloop does not exist."""
    if sys.platform == "win32":
        asyncio.run(main)
        return
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


@asynccontextmanager
async def listening(
    server: Server, host: str, port: int, tls: ssl.SSLContext | None = None, *, shared: bool = False
) -> AsyncIterator[str]:
    """Serve inside the block; yields the base URL. Raises CannotListen.

    `shared` allows that another process of this user listens there already: each gets some of the
    connections, until one of them stops (SO_REUSEPORT). On the way out the listener closes, and
    open streams may go on for the server's `drain_seconds`; what is left then is cut off.
    """
    factory = server.connection if tls is None else partial(server.secured, tls)
    try:
        if port and not shared:
            await _must_be_free(host, port)
        listener = await _listen(factory, host, port)
    except OSError as error:
        raise CannotListen(host, port, error) from error
    try:
        url = base_url(host, listener.sockets[0].getsockname()[1])
        yield url if tls is None else url.replace("http:", "https:", 1)
    finally:
        server.finish()
        await _close(listener, factory)
        await server.drain()


@asynccontextmanager
async def reserved(host: str, port: int, *, shared: bool) -> AsyncIterator[int]:
    """Hold a port inside the block for other processes of this user, which listen there.

    Yields its number; nobody is served here. Raises CannotListen, `shared` as for `listening`.
    """
    try:
        if port and not shared:
            await _must_be_free(host, port)
        holder = await _listen(asyncio.Protocol, host, port, start=False)
    except OSError as error:
        raise CannotListen(host, port, error) from error
    try:
        yield holder.sockets[0].getsockname()[1]
    finally:
        holder.close()


async def _listen(
    factory: Callable[[], asyncio.BaseProtocol], host: str, port: int, *, start: bool = True
) -> asyncio.Server:
    return await asyncio.get_running_loop().create_server(
        factory,
        host,
        port,
        backlog=BACKLOG,
        reuse_port=hasattr(socket, "SO_REUSEPORT") or None,
        start_serving=start,
    )


async def ensure_free(host: str, port: int) -> None:
    """Raises CannotListen if anybody listens there."""
    try:
        await _must_be_free(host, port)
    except OSError as error:
        raise CannotListen(host, port, error) from error


async def _must_be_free(host: str, port: int) -> None:
    """Raises OSError if anybody listens there, which SO_REUSEPORT would not tell."""
    loop = asyncio.get_running_loop()
    trial = await loop.create_server(asyncio.Protocol, host, port, start_serving=False)
    trial.close()
    await trial.wait_closed()


async def _close(listener: asyncio.Server, factory: Callable[[], asyncio.BaseProtocol]) -> None:
    """Stop listening, but take in those that have connected: the kernel would reset them."""
    spares = [socket.socket(fileno=os.dup(one.fileno())) for one in listener.sockets]
    listener.close()
    waiting: list[socket.socket] = []
    for spare in spares:
        with spare, suppress(BlockingIOError):
            spare.setblocking(False)
            while True:
                waiting.append(spare.accept()[0])
    loop = asyncio.get_running_loop()
    taken = (loop.connect_accepted_socket(factory, one) for one in waiting)
    await asyncio.gather(*taken, return_exceptions=True)  # some have left again


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
