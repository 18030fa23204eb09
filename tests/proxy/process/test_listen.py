"""The proxy opens its socket, hears the signal, and lets streams finish."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

import aiohttp
import pytest

from paceline.proxy.http import inbound
from paceline.proxy.http.checks import Limits
from paceline.proxy.http.request import Reply, Request
from paceline.proxy.http.server import Server
from paceline.proxy.process.listen import CannotListen, base_url, listening, run_loop, stop_signal


class Slow:
    """A server whose one answer is finished by the test."""

    def __init__(self, drain_seconds: float) -> None:
        self.started = asyncio.Event()
        self.finish = asyncio.Event()
        limits = Limits(head=2**15, body=2**20)
        self.server = Server(self.answer, lambda request, error: None, limits, drain_seconds)

    async def answer(self, request: Request) -> Reply | None:
        assert request.inbound.transport is not None
        request.inbound.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
        self.started.set()
        await self.finish.wait()
        request.inbound.transport.write(b"b")
        return None


async def get(url: str) -> bytes:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.read()


async def test_an_open_stream_finishes_after_the_listener_closed() -> None:
    """Leaving the block refuses new connections and waits for what is being answered."""
    slow = Slow(drain_seconds=30.0)
    closed = asyncio.Event()

    async def serve() -> None:
        async with listening(slow.server, "127.0.0.1", 0) as url:
            urls.set_result(url)
            await closed.wait()

    urls: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve())
    url = await urls
    answer = asyncio.create_task(get(url))
    await slow.started.wait()
    closed.set()
    await refused(url)
    assert not serving.done()
    slow.finish.set()
    assert await answer == b"ab"
    await serving


async def refused(url: str) -> None:
    """Return once new connections to `url` are refused."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        except ConnectionRefusedError:
            return
        writer.close()


async def test_a_stream_that_does_not_finish_is_cut_off() -> None:
    """Draining ends after the timeout, whatever is still open."""
    slow = Slow(drain_seconds=0.01)
    async with listening(slow.server, "127.0.0.1", 0) as url:
        answer = asyncio.create_task(get(url))
        await slow.started.wait()
    with pytest.raises(aiohttp.ClientError):
        await answer


class Brief:
    """A server that answers at once with its name."""

    def __init__(self, name: bytes) -> None:
        limits = Limits(head=2**15, body=2**20)
        self.name = name
        self.server = Server(self.answer, lambda request, error: None, limits, 5.0)

    async def answer(self, request: Request) -> Reply | None:
        return Reply(200, self.name)


ASK = b"GET / HTTP/1.1\r\nHost: p\r\n\r\n"


async def test_those_who_have_connected_are_served_though_nobody_listens_any_more() -> None:
    """The kernel holds connections that were not yet accepted: it would reset them."""
    async with listening(Brief(b"yes").server, "127.0.0.1", 0) as url:
        at = ("127.0.0.1", int(url.rpartition(":")[2]))
        waiting = [socket.create_connection(at) for _ in range(20)]  # the loop sees none of them
        for one in waiting:
            one.sendall(ASK)
    for one in waiting:
        with one:
            answer = one.recv(1000)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nConnection: close\r\n" in answer
        assert answer.endswith(b"yes")


async def test_a_kept_connection_has_one_more_answer() -> None:
    """The client learns that it must not ask there again; nothing it asked is lost."""
    stop = asyncio.Event()
    brief = Brief(b"yes")

    async def serve() -> None:
        async with listening(brief.server, "127.0.0.1", 0) as url:
            urls.set_result(url)
            await stop.wait()

    urls: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve())
    port = int((await urls).rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(ASK)
    assert b"close" not in await reader.readuntil(b"yes")
    stop.set()
    await refused(await urls)
    writer.write(ASK)
    assert b"\r\nConnection: close\r\n" in await reader.readuntil(b"yes")
    assert await reader.read() == b""
    writer.close()
    await serving


async def test_a_kept_connection_that_stays_silent_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It does not hold up the end."""
    monkeypatch.setattr(inbound, "LINGER_SECONDS", 0.01)
    async with listening(Brief(b"yes").server, "127.0.0.1", 0) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(ASK)
        await reader.readuntil(b"yes")
    assert await reader.read() == b""
    writer.close()


async def test_another_process_takes_over_without_a_gap() -> None:
    """Clients that connect for each request find somebody all the time."""
    stop, asked = asyncio.Event(), asyncio.Event()
    answers: list[bytes] = []

    async def serve() -> None:
        async with listening(Brief(b"old").server, "127.0.0.1", 0) as url:
            urls.set_result(url)
            await stop.wait()

    async def clients(port: int) -> None:
        while not (stop.is_set() and answers[-50:] == [b"new"] * 50):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(ASK)
            await reader.readuntil(b"\r\n\r\n")
            answers.append(await reader.readexactly(3))
            writer.close()
            await writer.wait_closed()
            asked.set()

    urls: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve())
    port = int((await urls).rpartition(":")[2])
    calling = [asyncio.create_task(clients(port)) for _ in range(4)]
    await asked.wait()
    async with listening(Brief(b"new").server, "127.0.0.1", port, shared=True):
        stop.set()
        await asyncio.gather(serving, *calling)
    assert answers[0] == b"old"


async def test_a_taken_port_is_one_line() -> None:
    """The error names address and cause, each once."""
    async with listening(Slow(0.0).server, "127.0.0.1", 0) as url:
        port = int(url.rpartition(":")[2])
        why = f"^cannot listen on 127.0.0.1:{port}: Address already in use$"
        with pytest.raises(CannotListen, match=why):
            async with listening(Slow(0.0).server, "127.0.0.1", port):
                pass


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("proxy.lan", "http://proxy.lan:80"),
    ],
)
def test_base_url_can_be_called(host: str, url: str) -> None:
    """Wildcard addresses become loopback; IPv6 gets brackets."""
    assert base_url(host, 80) == url


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_is_caught_and_the_second_kills(number: signal.Signals) -> None:
    """The future gets the signal; from then on both have their usual handlers."""
    usual = (signal.SIG_DFL, signal.default_int_handler)
    with stop_signal() as stopped:
        assert signal.getsignal(number) not in usual
        os.kill(os.getpid(), number)
        assert await stopped is number
        assert signal.getsignal(signal.SIGTERM) in usual
        assert signal.getsignal(signal.SIGINT) in usual


async def test_handlers_are_released_without_a_signal() -> None:
    """A start that fails leaves signals as they were."""
    with stop_signal():
        pass
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_runs_on_uvloop() -> None:
    """The loop is uvloop's."""
    seen: list[str] = []

    async def main() -> None:
        seen.append(type(asyncio.get_running_loop()).__module__)

    run_loop(main())
    assert seen == ["uvloop"]
