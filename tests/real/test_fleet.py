"""Four proxies with a store and a round robin are as one; each goes on without the store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.real.fleet import fleet, play

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]


async def test_four_proxies_hit_what_one_hits(tmp_path: Path) -> None:
    """Within 3%: each engine has room for two thirds of the prefixes, all are dealt out blindly."""
    rates = {}
    for proxies in (1, 4):
        folder = tmp_path / str(proxies)
        folder.mkdir()
        async with fleet(folder, proxies) as made:
            played = await play(made, 400, rate=30.0)
            await made.idle()
        assert played.statuses == {200}
        rates[proxies] = played.hit_rate
    print(rates)
    assert rates[1] > 0.4
    assert rates[4] > 0.97 * rates[1]


async def test_a_store_that_dies_and_comes_back(tmp_path: Path) -> None:
    """Every request is answered meanwhile; then all have found each other, and nothing is left."""
    async with fleet(tmp_path, 4) as made:
        playing = asyncio.create_task(play(made, 300, rate=30.0))
        await asyncio.sleep(2.0)
        made.store.kill()
        await made.joined(0)
        made.store.start()
        await made.joined(3)
        assert (await playing).statuses == {200}
        await made.idle()
        assert all(state["fleet"]["run"] > 0 for state in await made.states())
