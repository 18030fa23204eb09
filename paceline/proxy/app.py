"""The routes: what is scheduled, what passes through, and what the proxy answers by itself."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from paceline.engines import api
from paceline.proxy import models, serve
from paceline.proxy.checks import Limits
from paceline.proxy.gateway import Gateway
from paceline.proxy.inbound import Handler
from paceline.proxy.memory import Memory
from paceline.proxy.request import Reply, Request
from paceline.proxy.server import Server


def build_server(gateway: Gateway) -> Server:
    """What serves the gateway's clients, on the running loop."""
    config = gateway.config.server
    memory = Memory(int(config.max_buffered_mb * 2**20), gateway.driver.retry_after)
    limits = Limits(config.max_header_kb * 1024, int(config.max_body_mb * 2**20), memory)
    return Server(route(gateway), serve.unread(gateway), limits, config.drain_seconds)


def route(gateway: Gateway) -> Handler:
    """The handler of all requests."""
    scheduled = serve.handler(gateway, serve.schedule)
    listed = serve.handler(gateway, serve.list_models)
    refused = serve.handler(gateway, serve.refuse)
    passed = serve.handler(gateway, serve.pass_through)
    own = _own(gateway)

    async def handle(request: Request) -> Reply | None:
        method, path = request.method, request.path
        if method == "POST" and path in api.PATHS:
            return await scheduled(request)
        if method in ("GET", "HEAD") and path in own:
            return own[path]()
        if method == "GET" and path == models.PATH:
            return await listed(request)
        if path.startswith("/paceline/"):
            return await refused(request)
        return await passed(request)

    return handle


def _own(gateway: Gateway) -> dict[str, Callable[[], Reply]]:
    """The paths that are answered here."""

    def health() -> Reply:
        return _status(200, "ok")

    def ready() -> Reply:
        return _status(200, "ready") if gateway.ready() else _status(503, "not ready")

    def metrics() -> Reply:
        return Reply(200, *gateway.metrics())

    def state() -> Reply:
        return Reply(200, gateway.state())

    return {"/health": health, "/ready": ready, "/metrics": metrics, "/paceline/state": state}


def _status(status: int, word: str) -> Reply:
    return Reply(status, msgspec.json.encode({"status": word}))
