"""The watch that tests of this package share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from paceline.proxy.upstream.probe import open_session
from tests.proxy.upstream.watched import Engine, Proxy, Watched


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    fake = Engine()
    await fake.server.start_server()
    yield fake
    await fake.server.close()


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as opened:
        yield opened


@pytest.fixture
def proxy() -> Proxy:
    return Proxy()


@pytest.fixture
def watched(engine: Engine, session: ClientSession, proxy: Proxy) -> Watched:
    return Watched(engine, session, proxy)
