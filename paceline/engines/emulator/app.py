"""Builds an emulated engine as an aiohttp application and serves it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from paceline.engines.emulator import messages, responses, routes, sglang_routes, vllm_routes
from paceline.engines.emulator.config import EmulatorConfig
from paceline.engines.emulator.emulator import Emulator
from paceline.engines.emulator.errors import Refused, error_response
from paceline.engines.emulator.metrics import EngineCollector, render
from paceline.engines.emulator.routes import EMULATOR

MAX_BODY = 1 << 28
"""Bytes; a prompt of a million token ids takes 8 MB."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RunningEmulator:
    """An emulator that listens."""

    def __init__(self, runner: web.AppRunner, url: str) -> None:
        self._runner = runner
        self.url = url
        """`http://host:port`, without a slash."""

    async def close(self) -> None:
        """Stop listening and drop what is open."""
        await self._runner.cleanup()


def build_emulator(config: EmulatorConfig) -> web.Application:
    """The application; run it with `handler_cancellation=True`, or leaving clients are not seen.

    KeyError for an unknown preset, ValueError for a policy that the engine lacks.
    """
    app = web.Application(middlewares=[_refusals], client_max_size=MAX_BODY)
    emulator = Emulator(config)
    app[EMULATOR] = emulator
    app.add_routes(routes.routes)
    app.add_routes(messages.routes)
    app.add_routes((vllm_routes if config.kind == "vllm" else sglang_routes).routes)
    responses.add(app, emulator)
    app.router.add_get("/metrics", _metrics)
    collector = EngineCollector(config, emulator.player.load, emulator.started_at)
    emulator.latencies.registry.register(collector)
    app.on_cleanup.append(_stop)
    return app


async def start_emulator(
    config: EmulatorConfig, host: str = "127.0.0.1", port: int = 0
) -> RunningEmulator:
    """Serve an emulator; port 0 takes a free one. OSError when the port is taken."""
    runner = web.AppRunner(
        build_emulator(config), handler_cancellation=True, access_log=None, shutdown_timeout=0
    )
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    bound = runner.addresses[0][1]
    return RunningEmulator(runner, f"http://{host}:{bound}")


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as refused:
        return error_response(request.app[EMULATOR].config.kind, request.path, refused)


async def _metrics(request: web.Request) -> web.Response:
    text = render(request.app[EMULATOR].latencies.registry)
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


async def _stop(app: web.Application) -> None:
    app[EMULATOR].player.close()
