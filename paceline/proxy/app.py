"""The routes: what is scheduled, what passes through, and what the proxy answers by itself."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from paceline.engines import api
from paceline.proxy import admin, models, serve
from paceline.proxy.checks import Limits
from paceline.proxy.config import ServerConfig
from paceline.proxy.gateway import Gateway
from paceline.proxy.inbound import Gate, Handler
from paceline.proxy.request import Reply, Request
from paceline.proxy.server import Server


def build_server(gateway: Gateway) -> Server:
    """What serves the gateway's clients, on the running loop."""
    return _server(gateway, gateway.access.client)


def build_admin_server(gateway: Gateway) -> Server:
    """What serves its admins where they have a listener of their own."""
    return _server(gateway, gateway.access.admin)


def _server(gateway: Gateway, gate: Gate) -> Server:
    config = gateway.config.server
    return Server(
        route(gateway),
        serve.unread(gateway),
        limits_of(config),
        config.drain_seconds,
        config.max_connections,
        gate,
    )


def limits_of(config: ServerConfig) -> Limits:
    """The configuration in bytes and seconds."""
    return Limits(
        head=config.max_header_kb * 1024,
        body=int(config.max_body_mb * 2**20),
        head_seconds=config.head_seconds,
        body_seconds=config.body_seconds,
        body_rate=config.body_kb_per_second * 1024,
        idle_seconds=config.idle_seconds,
    )


def route(gateway: Gateway) -> Handler:
    """The handler of all requests; whether they are allowed was seen before."""
    scheduled = serve.handler(gateway, serve.schedule)
    listed = serve.handler(gateway, serve.list_models)
    passed = serve.handler(gateway, serve.pass_through)
    own = _own(gateway)
    proxys = _proxys(gateway)

    async def handle(request: Request) -> Reply | None:
        method, path = request.method, request.path
        if method == "POST" and path in api.PATHS:
            return await scheduled(request)
        if method in ("GET", "HEAD") and path in own:
            return own[path]()
        if method == "GET" and models.asked(path):
            return await listed(request)
        if path.startswith("/paceline/"):
            return await proxys(request)
        return await passed(request)

    return handle


def _proxys(gateway: Gateway) -> Handler:
    """The handler of the proxy's own paths that are more than a page."""
    administered = serve.handler(gateway, serve.administer)
    refused = serve.handler(gateway, serve.refuse)

    async def handle(request: Request) -> Reply | None:
        path = request.path
        if path == admin.PATH or path.startswith(f"{admin.PATH}/"):
            return await administered(request)
        return await refused(request)

    return handle


def _own(gateway: Gateway) -> dict[str, Callable[[], Reply]]:
    """The pages that are answered here."""

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
