"""A watch to talk to: a fake engine with real engines' replies, and a clock in the test's hand."""

from __future__ import annotations

import json

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from paceline.proxy.config import BackendConfig, UpstreamConfig
from paceline.proxy.upstream.directory import Directory, Entry
from paceline.proxy.upstream.probe import Probe
from paceline.proxy.upstream.watch import Watch
from paceline.scheduler.types import BackendSpec
from tests.engines.replies import SGLANG, VLLM


class Engine:
    """Answers every GET from `replies`, 404 for other paths; a status instead of bytes is given."""

    def __init__(self) -> None:
        self.replies: dict[str, bytes | int] = {}
        self.asked: list[str] = []
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        app.router.add_post("/{path:.*}", self._answer)
        self.server = TestServer(app)

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path_qs)
        reply = self.replies.get(request.path_qs, 404)
        if isinstance(reply, int):
            return web.Response(status=reply)
        return web.Response(body=reply)

    def become(self, replies: dict[str, bytes]) -> None:
        """Serve as this engine from now on."""
        self.replies = dict(replies)

    def stop(self) -> None:
        """Answer nothing but errors."""
        self.replies = dict.fromkeys([*VLLM, *SGLANG], 503)


class Proxy:
    """The driver's and the requests' side, with a clock that stands still."""

    def __init__(self) -> None:
        self.time = 100.0
        self.specs: list[BackendSpec] = []
        self.resets: list[str] = []
        self.loads: list[tuple[str, int, int, float]] = []
        self.last_byte: float | None = None
        self.abandoned: list[str] = []
        self.broken = 0.0

    def now(self) -> float:
        return self.time

    def backend_changed(self, spec: BackendSpec) -> None:
        self.specs.append(spec)

    def backend_reset(self, id: str) -> None:
        self.resets.append(id)

    def load_reported(self, id: str, running: int, waiting: int, asked_at: float) -> None:
        self.loads.append((id, running, waiting, asked_at))

    def in_flight(self, backend: str) -> int:
        return 1

    def last_byte_at(self, backend: str) -> float | None:
        return self.last_byte

    def broken_at(self, backend: str) -> float:
        return self.broken

    def silence(self, backend: str) -> float:
        return 0.0

    def abandon(self, backend: str) -> None:
        self.abandoned.append(backend)


class Watched:
    """A watch, its entry, and all that it talks to."""

    def __init__(self, engine: Engine, session: ClientSession, proxy: Proxy) -> None:
        self.engine, self.proxy, self._session = engine, proxy, session
        self.entry, self.watch = self.with_config()

    def with_config(self, **fields: object) -> tuple[Entry, Watch]:
        url = str(self.engine.server.make_url("/"))
        config = BackendConfig(url=url, name="b", **fields)  # type: ignore[arg-type]
        self.directory = Directory([config, BackendConfig(url="http://other", name="other")])
        self.entry = self.directory["b"]
        probe = Probe(self._session, self.entry.address, timeout=5.0)
        upstream, alone = UpstreamConfig(), self.directory.alone
        self.watch = Watch(self.entry, probe, self.proxy, self.proxy, upstream, alone)
        return self.entry, self.watch

    def with_another(self) -> Entry:
        """Another backend that serves the same."""
        other = self.directory["other"]
        other.up, other.models = True, self.entry.models
        return other

    async def check(self, times: int = 1) -> None:
        for _ in range(times):
            await self.watch.check()

    @property
    def up(self) -> list[bool]:
        return [spec.up for spec in self.proxy.specs]


def restarted(replies: dict[str, bytes]) -> dict[str, bytes]:
    """The replies after another start."""
    metrics = replies["/metrics"].replace(b"1.79535617075e+09", b"1.79535700000e+09")
    changed = replies | {"/metrics": metrics}
    if "/server_info" in replies:
        info = json.loads(replies["/server_info"]) | {"random_seed": 1}
        changed["/server_info"] = json.dumps(info).encode()
    return changed
