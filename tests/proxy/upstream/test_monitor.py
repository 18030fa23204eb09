"""All backends are watched from `start` to `close`."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from paceline.proxy.config import BackendConfig, UpstreamConfig
from paceline.proxy.upstream import watch
from paceline.proxy.upstream.directory import Directory, Entry
from paceline.proxy.upstream.monitor import Monitor
from paceline.scheduler.types import BackendSpec
from tests.engines.replies import VLLM


class Proxy:
    """Hands on what it is told; has `busy` requests in flight."""

    def __init__(self) -> None:
        self.specs: asyncio.Queue[BackendSpec] = asyncio.Queue()
        self.loads: asyncio.Queue[str] = asyncio.Queue()
        self.busy = 0
        self.broken = 0

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def backend_changed(self, spec: BackendSpec) -> None:
        self.specs.put_nowait(spec)

    def backend_reset(self, id: str) -> None:
        raise AssertionError("nothing restarted")

    def load_reported(self, id: str, running: int, waiting: int, asked_at: float) -> None:
        self.loads.put_nowait(id)

    def in_flight(self, backend: str) -> int:
        if self.broken:
            self.broken -= 1
            raise RuntimeError("a defect elsewhere")
        return self.busy

    def last_byte_at(self, backend: str) -> float | None:
        return None

    def broken_at(self, backend: str) -> float:
        return 0.0

    def silence(self, backend: str) -> float:
        return 0.0

    def abandon(self, backend: str) -> None:
        raise AssertionError("it does not hang")


async def vllm(port: int, asked: asyncio.Queue[str]) -> TestServer:
    async def answer(request: web.Request) -> web.Response:
        asked.put_nowait(request.path)
        return (
            web.Response(body=VLLM[request.path])
            if request.path in VLLM
            else web.Response(status=404)
        )

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    server = TestServer(app, port=port)
    await server.start_server()
    return server


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOAD_SECONDS", 0.005)


def monitor(proxy: Proxy, *ports: int) -> tuple[Monitor, Directory]:
    directory = Directory([BackendConfig(url=f"http://127.0.0.1:{port}") for port in ports])
    return Monitor(directory, proxy, proxy, UpstreamConfig(probe_seconds=0.02)), directory


async def test_a_backend_that_starts_later_is_found() -> None:
    """The proxy may be there first."""
    proxy, asked, port = Proxy(), asyncio.Queue[str](), unused_port()
    watching, directory = monitor(proxy, port)
    watching.start()
    assert not (await proxy.specs.get()).up
    server = await vllm(port, asked)
    spec = await proxy.specs.get()
    assert (spec.up, spec.models) == (True, ("tiny",))
    assert directory.pick("tiny") == directory.get(f"127.0.0.1:{port}")
    await watching.close()
    await server.close()


async def test_an_unreachable_backend_does_not_hold_up_another() -> None:
    """Each has a task of its own."""
    proxy, asked, port = Proxy(), asyncio.Queue[str](), unused_port()
    server = await vllm(port, asked)
    watching, _ = monitor(proxy, unused_port(), port)
    watching.start()
    found = [await proxy.specs.get() for _ in range(3)]
    assert [spec.id for spec in found if spec.up] == [f"127.0.0.1:{port}"]
    await watching.close()
    await server.close()


async def test_only_a_busy_backend_is_asked_for_its_load() -> None:
    """An idle one is left alone but for its health."""
    proxy, asked, port = Proxy(), asyncio.Queue[str](), unused_port()
    server = await vllm(port, asked)
    watching, _ = monitor(proxy, port)
    watching.start()
    idle = [await asked.get() for _ in range(10)]
    assert idle.count("/metrics") == 1
    assert idle.count("/health") == 6
    assert proxy.loads.empty()
    proxy.busy = 1
    assert await proxy.loads.get() == f"127.0.0.1:{port}"
    await watching.close()
    await server.close()


async def test_a_watch_survives_a_defect() -> None:
    """A backend whose watch ended would stay as it was for ever."""
    proxy, asked, port = Proxy(), asyncio.Queue[str](), unused_port()
    proxy.busy, proxy.broken = 1, 3
    server = await vllm(port, asked)
    watching, _ = monitor(proxy, port)
    watching.start()
    assert await proxy.loads.get() == f"127.0.0.1:{port}"
    await watching.close()
    await server.close()


async def test_closing_ends_all_questions() -> None:
    """Even those that hang; and closing twice is fine."""
    hanging, asked = asyncio.Event(), asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        asked.set()
        await hanging.wait()
        return web.Response()

    app = web.Application()
    app.router.add_get("/{path:.*}", hang)
    server = TestServer(app)
    await server.start_server()
    before = asyncio.all_tasks()
    watching, _ = monitor(Proxy(), server.port or 0)
    watching.start()
    await asked.wait()
    await watching.close()
    await watching.close()
    assert not [task for task in asyncio.all_tasks() - before if "watch" in task.get_name()]
    hanging.set()
    await server.close()


async def test_kv_events_are_followed_where_they_are_now() -> None:
    """From the start, at another address after a reload, and no longer when they have none."""
    said: asyncio.Queue[str] = asyncio.Queue()

    async def follow(entry: Entry) -> None:
        at = entry.config.kv_events
        said.put_nowait(f"+{at}")
        try:
            await asyncio.Event().wait()
        finally:
            said.put_nowait(f"-{at}")

    def settings(at: str) -> BackendConfig:
        return BackendConfig(url=f"http://127.0.0.1:{port}", name="e", kv_events=at)

    proxy, port = Proxy(), unused_port()
    directory = Directory([settings("tcp://a:1")])
    watching = Monitor(directory, proxy, proxy, UpstreamConfig(), follow)
    watching.start()
    assert await said.get() == "+tcp://a:1"
    watching.refresh("e")
    for at, expected in (("tcp://b:1", ["-tcp://a:1", "+tcp://b:1"]), ("", ["-tcp://b:1"])):
        directory["e"].config = settings(at)
        watching.refresh("e")
        assert [await said.get() for _ in expected] == expected
    await watching.close()
    assert said.empty()
