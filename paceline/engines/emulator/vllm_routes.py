"""The HTTP routes that only vLLM has."""

from __future__ import annotations

from aiohttp import web

from paceline.engines.emulator.routes import VERSIONS

routes = web.RouteTableDef()


@routes.get("/version")
async def version(request: web.Request) -> web.Response:
    """The release whose rules the model follows."""
    return web.json_response({"version": VERSIONS["vllm"]})
