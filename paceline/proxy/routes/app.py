"""The routes: what is scheduled, what passes through, and what the proxy answers by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from paceline.engines import api
from paceline.proxy.access.admission import RESPONSES
from paceline.proxy.access.hosts import Hosts
from paceline.proxy.config import ServerConfig
from paceline.proxy.http.checks import Limits
from paceline.proxy.http.crowd import Crowd
from paceline.proxy.http.inbound import Gate, Handler, Unread
from paceline.proxy.http.memory import Memory
from paceline.proxy.http.request import Reply, Request
from paceline.proxy.http.server import Server
from paceline.proxy.routes import admin, openapi
from paceline.proxy.serving import models, serve
from paceline.proxy.serving.gateway import FullGateway, Gateway
from paceline.proxy.ui.page import PATHS

PAGES = frozenset(("/health", "/ready", "/metrics", "/paceline/state", openapi.PATH))
"""What the proxy shows of itself."""


def build_server(gateway: FullGateway) -> Server:
    """What serves the gateway's clients, on the running loop."""
    return client_server(gateway, route(gateway))


def build_admin_server(gateway: FullGateway) -> Server:
    """What serves its admins where they have a listener of their own."""
    return _server(gateway, route(gateway), serve.unread(gateway), gateway.access.admin)


def client_server(gateway: Gateway, handler: Handler) -> Server:
    """What has clients' requests answered by `handler`, within the limits of the configuration."""
    unread, gate, cors = serve.unread(gateway), gateway.access.client, gateway.cors
    if cors is None:
        return _server(gateway, handler, unread, gate)
    return _server(gateway, cors.handler(handler), cors.unread(unread), cors.gate(gate))


def _server(gateway: Gateway, handler: Handler, unread: Unread, gate: Gate) -> Server:
    config = gateway.config.server
    return Server(
        handler,
        unread,
        limits_of(config, gateway.memory),
        config.drain_seconds,
        crowd_of(config),
        gate,
        gateway.on_refused,
    )


def crowd_of(config: ServerConfig) -> Crowd:
    """Nobody yet, and how many may come; raises BadHosts."""
    return Crowd(
        config.max_connections,
        config.max_connections_per_address,
        Hosts(config.load_balancers),
    )


def limits_of(config: ServerConfig, memory: Memory) -> Limits:
    """The configuration in bytes and seconds."""
    return Limits(
        head=config.max_header_kb * 1024,
        body=int(config.max_body_mb * 2**20),
        head_seconds=config.head_seconds,
        body_seconds=config.body_seconds,
        body_rate=config.body_kb_per_second * 1024,
        idle_seconds=config.idle_seconds,
        memory=memory,
    )


def route(gateway: FullGateway) -> Handler:
    """The handler of all requests; whether they are allowed was seen before."""
    return forwarding(gateway, pages(gateway))


def is_page(request: Request) -> bool:
    """Whether a request is for the proxy itself."""
    path = request.path
    return path.startswith("/paceline/") or (path in PAGES and request.method in ("GET", "HEAD"))


def forwarding(gateway: Gateway, page: Handler) -> Handler:
    """The handler of what engines answer, which leaves to `page` what is the proxy's own."""
    scheduled = serve.handler(gateway, serve.schedule)
    listed = serve.handler(gateway, serve.list_models)
    answered = serve.handler(gateway, serve.respond)
    passed = serve.handler(gateway, serve.pass_through)

    def handle(request: Request) -> Awaitable[Reply | None]:
        method, path = request.method, request.path
        if method == "POST" and path in api.PATHS:
            return scheduled(request)
        if is_page(request):
            return page(request)
        if method == "GET" and models.asked(path):
            return listed(request)
        if path.startswith(RESPONSES):
            return answered(request)
        return passed(request)

    return handle


def pages(gateway: FullGateway) -> Handler:
    """The handler of what the proxy answers by itself."""
    administered = serve.handler(gateway, serve.administer)
    refused = serve.handler(gateway, serve.refuse)
    own = _own(gateway)

    async def handle(request: Request) -> Reply | None:
        path = request.path
        if path in own and request.method in ("GET", "HEAD"):
            return own[path]()
        if path in PATHS and request.method in ("GET", "HEAD"):
            return gateway.dashboard.answer(request)
        if path == admin.PATH or path.startswith(f"{admin.PATH}/"):
            return await administered(request)
        return await refused(request)

    return handle


def _own(gateway: FullGateway) -> dict[str, Callable[[], Reply]]:
    """The plain pages."""

    def health() -> Reply:
        return _status(200, "ok")

    def ready() -> Reply:
        return _status(200, "ready") if gateway.ready() else _status(503, "not ready")

    def metrics() -> Reply:
        return Reply(200, *gateway.metrics())

    def state() -> Reply:
        return Reply(200, gateway.state())

    def described() -> Reply:
        return Reply(200, openapi.document())

    return {
        "/health": health,
        "/ready": ready,
        "/metrics": metrics,
        "/paceline/state": state,
        openapi.PATH: described,
    }


def _status(status: int, word: str) -> Reply:
    return Reply(status, msgspec.json.encode({"status": word}))
