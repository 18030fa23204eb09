"""Whole proxies as a fleet: what one sends, the other sees; without a store each serves alone."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from paceline.proxy.config import Config, FleetConfig
from paceline.proxy.fleet.join import join, stream
from paceline.proxy.fleet.member import StoreLost
from paceline.proxy.fleet.messages import FORMAT
from paceline.proxy.fleet.store import RedisStore
from paceline.proxy.process.secure import secure
from tests.proxy.fleet.stream import End, Stream
from tests.proxy.rig import free_port
from tests.proxy.scripted import engine
from tests.proxy.whole import Whole, backend, streaming, whole


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fleet's."""
    monkeypatch.setenv("FLEET_SECRET", "a secret")


def config(port: int, store: int = 1) -> Config:
    """With one engine, and a store on that port."""
    fleet = FleetConfig(url=f"redis://127.0.0.1:{store}", secret_env="FLEET_SECRET")
    return Config(backends=[backend(port)], fleet=fleet)


async def state(proxy: Whole) -> Any:
    return json.loads((await proxy.ask("GET", "/paceline/state")).body)


async def seen(proxy: Whole, peers: int, in_flight: int) -> Any:
    """Wait until a proxy knows of so many others and what they have; its state then."""
    while True:
        now = await state(proxy)
        at = now["scheduler"]["backends"][0]
        if (len(now["fleet"]["peers"]), at["peers"]) == (peers, in_flight):
            return now
        await asyncio.sleep(0.01)


async def test_what_one_proxy_sends_the_other_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """On its way and at its end, in `/paceline/state` and `/metrics`; it is not its own."""
    store, gate = Stream(), asyncio.Event()
    monkeypatch.setattr("paceline.proxy.fleet.store.RedisStore", lambda *_: End(store))
    async with (
        engine(streaming(gate)) as one,
        whole(config(one.port)) as first,
        whole(config(one.port)) as second,
    ):
        assert first.proxy.gateway.seed == second.proxy.gateway.seed
        for proxy in (first, second):
            assert proxy.proxy.fleet is not None
            proxy.proxy.fleet.start()
        asking = asyncio.create_task(first.chat())
        now = await seen(second, 1, 1)
        assert now["scheduler"]["in_flight"] == 0
        assert now["fleet"]["peer_requests"] == 1
        page = (await second.ask("GET", "/metrics")).body
        assert b"\npaceline_fleet_peers 1.0\n" in page
        assert b'paceline_backend_peer_requests{backend="e0"} 1.0' in page
        gate.set()
        assert (await asking).status == 200
        await seen(second, 1, 0)


async def test_without_a_store_a_proxy_serves_alone() -> None:
    """From its start on; the state says so."""
    gate = asyncio.Event()
    gate.set()
    async with (
        engine(streaming(gate)) as one,
        whole(config(one.port, free_port())) as proxy,
    ):
        assert proxy.proxy.fleet is not None
        proxy.proxy.fleet.start()
        while not (await state(proxy))["fleet"]["run"]:
            await asyncio.sleep(0.01)
        assert (await proxy.chat()).status == 200
        assert not (await state(proxy))["fleet"]["connected"]


async def test_a_store_that_is_not_there_is_lost_for_both_directions() -> None:
    """In one line that says why."""
    fleet = config(1, free_port()).fleet
    store = RedisStore(fleet, "", "s")
    with pytest.raises(StoreLost, match="connecting to"):
        await store.append(b"x")
    with pytest.raises(StoreLost, match="connecting to"):
        await store.read()
    await store.close()


async def test_in_no_fleet_there_is_nothing() -> None:
    """No member, no metrics, a random seed."""
    gate = asyncio.Event()
    async with engine(streaming(gate)) as one, whole(Config(backends=[backend(one.port)])) as it:
        assert it.proxy.fleet is None
        assert join(FleetConfig(), None, it.proxy.driver) is None
        assert (await state(it))["fleet"] is None
        assert b"paceline_fleet" not in (await it.ask("GET", "/metrics")).body


def test_another_secret_is_another_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose block keys differ do not take each other's for known."""
    shared = secure(config(1)).shared
    monkeypatch.setenv("FLEET_SECRET", "another")
    other = secure(config(1)).shared
    assert shared is not None
    assert other is not None
    assert stream("c", shared).startswith(f"paceline:{FORMAT}:c:")
    assert len({stream("c", shared), stream("d", shared), stream("c", other)}) == 3
