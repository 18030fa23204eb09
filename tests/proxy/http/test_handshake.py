"""TLS: a connection counts from its first packet, and its handshake has to end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress

import pytest
import uvloop

from paceline.proxy.config import Config, ServerConfig, TlsConfig
from paceline.proxy.http import handshake
from tests.proxy.access.test_tls import GET, LEAF, status, trusting
from tests.proxy.rig import Caller
from tests.proxy.whole import Whole, whole

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def tight() -> Config:
    """A proxy over TLS that takes one connection."""
    return Config(server=ServerConfig(max_connections=1), tls=TlsConfig(cert_file=LEAF))


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[None, None, None]], None]:
    """Runs a dialogue on each loop: the proxy's own, and the tests'."""

    def play(dialogue: Coroutine[None, None, None]) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(dialogue)

    return play


async def empty(proxy: Whole) -> None:
    """Until no connection is counted any more."""
    async with asyncio.timeout(5):
        while proxy.proxy.server.open:
            await asyncio.sleep(0.001)


async def seen(proxy: Whole) -> None:
    """Until the proxy has taken a connection in."""
    async with asyncio.timeout(5):
        while not proxy.proxy.server.open:
            await asyncio.sleep(0.001)


async def closed(client: Caller) -> None:
    """Hang up, and wait until that is done."""
    client.hang_up()
    with suppress(ConnectionError, ssl.SSLError):
        await client.writer.wait_closed()


async def turned_away(proxy: Whole) -> bool:
    """Whether a client is dropped before hands are shaken."""
    try:
        await status(proxy, trusting())
    except (ConnectionError, ssl.SSLError):
        return True
    return False


async def counted(proxy: Whole, reason: str) -> bool:
    """Whether `/metrics` knows of a refusal."""
    page, _ = proxy.proxy.gateway.metrics()
    return f'paceline_connections_refused_total{{reason="{reason}"}}'.encode() in page


def test_a_silent_client_takes_a_place_for_a_while(
    run: Callable[[Coroutine[None, None, None]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it says nothing others are refused, and counted; then it is dropped."""
    monkeypatch.setattr(handshake, "HANDSHAKE_SECONDS", 0.3)

    async def dialogue() -> None:
        async with whole(tight(), up=False) as proxy:
            silent = await proxy.dial()
            await seen(proxy)
            assert await turned_away(proxy)
            assert await counted(proxy, "connections")
            with suppress(ConnectionError):
                assert await silent.rest() == b""
            await closed(silent)
            await empty(proxy)
            assert await status(proxy, trusting()) == 200

    run(dialogue())


def test_a_connection_keeps_its_place_behind_the_handshake(
    run: Callable[[Coroutine[None, None, None]], None],
) -> None:
    """It is counted once, until it ends; also one that fails is given back."""

    async def dialogue() -> None:
        async with whole(tight(), up=False) as proxy:
            context = trusting()
            client = Caller(*await asyncio.open_connection("127.0.0.1", proxy.port, ssl=context))
            client.say(GET)
            assert (await client.answer()).status == 200
            assert await turned_away(proxy)
            await closed(client)
            await empty(proxy)
            plain = await proxy.dial()
            plain.say(GET)
            with suppress(ConnectionError):
                await plain.rest()
            await closed(plain)
            await empty(proxy)
            assert await status(proxy, trusting()) == 200

    run(dialogue())


async def test_stopping_drops_a_silent_client() -> None:
    """Draining does not wait for its handshake for longer than for a stream."""
    config = Config(server=ServerConfig(drain_seconds=0.01), tls=TlsConfig(cert_file=LEAF))
    async with whole(config, up=False) as proxy:
        silent = await proxy.dial()
        await seen(proxy)
    with suppress(ConnectionError):
        assert await silent.rest() == b""
    await closed(silent)
