"""Whoever knows that a backend ended can say so: its health checks need not fail first."""

from __future__ import annotations

import asyncio

from paceline.proxy.config import Config, UpstreamConfig
from tests.proxy.scripted import always, engine
from tests.proxy.whole import MODELS, backend, whole


async def test_a_lost_backend_is_sent_nothing_until_it_is_found_again() -> None:
    """Requests for its model wait; the next good health check brings them there."""
    async with engine(always(MODELS)) as one:
        config = Config(backends=[backend(one.port)], upstream=UpstreamConfig(probe_seconds=0.05))
        async with whole(config) as proxy:
            entry = proxy.proxy.backends.directory["e0"]
            proxy.proxy.backends.lost("e0")
            proxy.proxy.backends.lost("nobody")
            assert not entry.up
            asked = asyncio.create_task(proxy.chat())
            await asyncio.sleep(0)
            assert not asked.done()
            assert (await asked).status == 200
            assert entry.up
