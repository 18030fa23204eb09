"""The HTTP routes that only vLLM has."""

from __future__ import annotations

from aiohttp import web

from paceline.engines.emulator.routes import EMULATOR, VERSIONS

routes = web.RouteTableDef()


@routes.get("/version")
async def version(request: web.Request) -> web.Response:
    """The release whose rules the model follows."""
    return web.json_response({"version": VERSIONS["vllm"]})


@routes.post("/reset_prefix_cache")
async def reset_prefix_cache(request: web.Request) -> web.Response:
    """Forget every prefix, as with `VLLM_SERVER_DEV_MODE=1`; while busy nothing happens, and vLLM
    answers 200 then too."""
    request.app[EMULATOR].player.flush_cache()
    return web.Response()
