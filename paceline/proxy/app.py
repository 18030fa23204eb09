"""The routes: what is scheduled, what passes through, and what the proxy answers by itself."""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from paceline.engines import api
from paceline.proxy import models, serve
from paceline.proxy.gateway import Gateway

CLIENT_KEEPALIVE = 30.0
"""Seconds that a client's connection may be idle; a head that dribbles in is cut after them too."""


def build_app(gateway: Gateway) -> web.Application:
    """The application, on the running loop; serve it with `build_runner`."""
    app = web.Application()
    route = app.router.add_route
    for path in api.PATHS:
        route("POST", path, serve.handler(gateway, serve.schedule))
    route("GET", models.PATH, serve.handler(gateway, serve.list_models))
    _add_own(app.router, gateway)
    route("*", "/paceline/{tail:.*}", serve.handler(gateway, serve.refuse))
    route("*", "/{tail:.*}", serve.handler(gateway, serve.pass_through))
    return app


def build_runner(gateway: Gateway) -> web.AppRunner:
    """The application with the server options that it relies on.

    Handlers are cancelled when their client goes away, and bodies are left as they come.
    """
    config = gateway.config.server
    logger = logging.getLogger("paceline.http")
    logger.addFilter(_not_the_clients_fault)
    return web.AppRunner(
        build_app(gateway),
        logger=logger,
        handler_cancellation=True,
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=CLIENT_KEEPALIVE,
        max_line_size=config.max_header_kb * 1024,
        max_field_size=config.max_header_kb * 1024,
        shutdown_timeout=config.drain_seconds,
    )


def _not_the_clients_fault(record: logging.LogRecord) -> bool:
    """Whether to log: not for malformed requests, of which a client could send a diskful."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def _add_own(router: web.UrlDispatcher, gateway: Gateway) -> None:
    """The paths that are answered here."""

    async def health(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(request: web.Request) -> web.Response:
        if gateway.ready():
            return web.json_response({"status": "ready"})
        return web.json_response({"status": "not ready"}, status=503)

    async def metrics(request: web.Request) -> web.Response:
        text, content_type = gateway.metrics()
        return web.Response(body=text, headers={"Content-Type": content_type})

    async def state(request: web.Request) -> web.Response:
        return web.Response(body=gateway.state(), content_type="application/json")

    router.add_get("/health", health)
    router.add_get("/ready", ready)
    router.add_get("/metrics", metrics)
    router.add_get("/paceline/state", state)
