"""The endpoints of a Kubernetes Service are watched, against an API server that a test controls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from paceline.proxy.config import DiscoveryConfig
from paceline.proxy.discovery import kubernetes
from paceline.proxy.discovery.kubernetes import Cluster, in_cluster, watched
from paceline.proxy.discovery.slices import ApiFailed
from paceline.proxy.discovery.sources import Found

CONFIG = DiscoveryConfig(service="vllm")
PATH = "/apis/discovery.k8s.io/v1/namespaces/llm/endpointslices"


def endpoint(address: str, pod: str = "", **conditions: bool) -> dict[str, Any]:
    """One endpoint of a slice."""
    target = {"targetRef": {"kind": "Pod", "name": pod}} if pod else {}
    return {"addresses": [address], "conditions": conditions, **target}


def slice_of(*endpoints: dict[str, Any], name: str = "s", version: str = "1") -> dict[str, Any]:
    """An EndpointSlice, with more in it than is looked at."""
    metadata = {"name": name, "resourceVersion": version, "labels": {"a": "b"}}
    ports = [{"name": "http", "port": 8000, "protocol": "TCP"}, {"name": "rpc", "port": 9}]
    return {
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": ports,
    }


class ApiServer:
    """Lists what a test says, and streams the events that it tells."""

    def __init__(self) -> None:
        self.url = ""
        self.slices: list[dict[str, Any]] = []
        self.requests: list[web.Request] = []
        self.refusals = 0
        self.events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        """None ends the watch."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """List or watch."""
        self.requests.append(request)
        if self.refusals:
            self.refusals -= 1
            return web.json_response({"message": "not allowed"}, status=403)
        if "watch" in request.query:
            return await self._watch(request)
        return web.json_response({"metadata": {"resourceVersion": "7"}, "items": self.slices})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while (event := await self.events.get()) is not None:
            await response.write(web.json_response(event).body + b"\n")  # type: ignore[operator]
        return response

    def tell(self, kind: str, changed: dict[str, Any]) -> None:
        """An event of the watch."""
        self.events.put_nowait({"type": kind, "object": changed})


@asynccontextmanager
async def api_server() -> AsyncIterator[ApiServer]:
    """An API server on a port of its own."""
    server = ApiServer()
    app = web.Application()
    app.router.add_get(PATH, server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        server.events.put_nowait(None)
        await runner.cleanup()


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pod's service account; tries follow each other at once."""
    (tmp_path / "token").write_text("secret\n")
    (tmp_path / "namespace").write_text("llm\n")
    monkeypatch.setattr(kubernetes, "FIRST_PAUSE", 0.001)
    return tmp_path


async def test_ready_endpoints_are_engines(account: Path) -> None:
    """Those that are not ready, or about to end, are none; a pod of two families is one."""
    async with api_server() as server:
        server.slices = [
            slice_of(
                endpoint("10.0.0.1", "vllm-0", ready=True),
                endpoint("10.0.0.2", "vllm-1", ready=False),
                endpoint("10.0.0.3", "vllm-2", ready=True, terminating=True),
                endpoint("10.0.0.4"),
            ),
            slice_of(endpoint("fd00::1", "vllm-0", ready=True), name="six"),
        ]
        cluster = Cluster(url=server.url, account=account)
        async with aclosing(watched(CONFIG, cluster)) as source:
            assert await anext(source) == [
                Found("10.0.0.1", 8000, "vllm-0"),
                Found("10.0.0.4", 8000),
            ]
        (request,) = server.requests
        assert request.query["labelSelector"] == "kubernetes.io/service-name=vllm"
        assert request.headers["Authorization"] == "Bearer secret"


async def test_changes_are_seen_as_they_happen(account: Path) -> None:
    """Added, changed and deleted slices count at once; bookmarks and the same again do not."""
    async with api_server() as server:
        server.slices = [slice_of(endpoint("10.0.0.1"))]
        cluster = Cluster(url=server.url, account=account)
        async with aclosing(watched(CONFIG, cluster)) as source:
            assert await anext(source) == [Found("10.0.0.1", 8000)]
            server.tell("BOOKMARK", {"metadata": {"resourceVersion": "8"}})
            server.tell("MODIFIED", slice_of(endpoint("10.0.0.1", ready=True)))
            server.tell("ADDED", slice_of(endpoint("10.0.0.2"), name="t"))
            assert await anext(source) == [Found("10.0.0.1", 8000), Found("10.0.0.2", 8000)]
            server.tell("DELETED", slice_of(name="s"))
            assert await anext(source) == [Found("10.0.0.2", 8000)]
            server.tell("MODIFIED", {"metadata": {"name": "t"}, "endpoints": None, "ports": None})
            assert await anext(source) == []
        assert server.requests[1].query["resourceVersion"] == "7"


async def test_a_watch_that_ends_goes_on_where_it_was(account: Path) -> None:
    """The next one begins at the last version seen, with the token as it is then."""
    async with api_server() as server:
        cluster = Cluster(url=server.url, account=account)
        async with aclosing(watched(CONFIG, cluster)) as source:
            assert await anext(source) == []
            server.tell("ADDED", slice_of(endpoint("10.0.0.1"), version="9"))
            assert len(await anext(source)) == 1
            (account / "token").write_text("renewed")
            server.events.put_nowait(None)
            server.tell("DELETED", slice_of(version="10"))
            assert await anext(source) == []
        *_, last = server.requests
        assert last.query["resourceVersion"] == "9"
        assert last.headers["Authorization"] == "Bearer renewed"


async def test_too_old_a_version_lists_anew(account: Path) -> None:
    """The API server says 410 where it has forgotten what came since."""
    async with api_server() as server:
        cluster = Cluster(url=server.url, account=account)
        async with aclosing(watched(CONFIG, cluster)) as source:
            assert await anext(source) == []
            server.slices = [slice_of(endpoint("10.0.0.1"))]
            server.tell("ERROR", {"kind": "Status", "code": 410, "message": "too old"})
            assert await anext(source) == [Found("10.0.0.1", 8000)]


async def test_a_refusal_is_tried_again(account: Path) -> None:
    """Without the right to list there is nothing to find, and the log says why."""
    async with api_server() as server:
        server.slices = [slice_of(endpoint("10.0.0.1"))]
        server.refusals = 2
        cluster = Cluster(url=server.url, account=account)
        with capture_logs() as logs:
            async with aclosing(watched(CONFIG, cluster)) as source:
                assert await anext(source) == [Found("10.0.0.1", 8000)]
        assert ["403" in line["error"] for line in logs] == [True, True]


async def test_large_slices(account: Path) -> None:
    """A hundred endpoints and their metadata are more than a reader's usual 64 KiB a line."""
    async with api_server() as server:
        cluster = Cluster(url=server.url, account=account)
        config = DiscoveryConfig(service="vllm", namespace="llm", port=30000)
        async with aclosing(watched(config, cluster)) as source:
            assert await anext(source) == []
            many = [endpoint(f"10.0.0.{i}", "p" * 1000 + str(i)) for i in range(100)]
            server.tell("ADDED", slice_of(*many))
            found = await anext(source)
        assert len(found) == 100
        assert {one.port for one in found} == {30000}


def test_outside_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no API server to ask, and that is said."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ApiFailed, match="no pod"):
        in_cluster()
