"""The HTTP routes that only SGLang has."""

from __future__ import annotations

import time
from collections.abc import Sequence

from aiohttp import web

from paceline.engines.emulator import bodies
from paceline.engines.emulator.emulator import Emulator
from paceline.engines.emulator.errors import Refused
from paceline.engines.emulator.generate_shape import GenerateShape
from paceline.engines.emulator.generation import Ask
from paceline.engines.emulator.metrics import hit_rate
from paceline.engines.emulator.routes import EMULATOR, VERSIONS
from paceline.engines.emulator.shapes import Json
from paceline.engines.model.sglang import MAX_RUNNING

routes = web.RouteTableDef()


@routes.post("/generate")
async def generate(request: web.Request) -> web.StreamResponse:
    """SGLang's own generation route."""
    emulator = request.app[EMULATOR]
    body = bodies.decode(await request.read(), bodies.GenerateBody)
    if (body.text is None) == (body.input_ids is None):
        raise Refused(400, "Either text or input_ids should be provided.")
    given = body.text if body.input_ids is None else body.input_ids
    prompts = [emulator.ids(prompt) for prompt in bodies.as_prompts(given)]
    ask = _ask(emulator, body, prompts)
    batch = isinstance(given, list) and not isinstance(given[0], int)
    return await emulator.serve(request, ask, GenerateShape(many=batch or ask.n > 1))


@routes.post("/abort_request")
async def abort_request(request: web.Request) -> web.Response:
    """End every request whose rid starts with the given one, as SGLang's scheduler does."""
    body = bodies.decode(await request.read(), bodies.AbortBody)
    if body.rid or body.abort_all:
        request.app[EMULATOR].player.abort("" if body.abort_all else body.rid)
    return web.Response()


@routes.get("/server_info")
@routes.get("/get_server_info")
async def server_info(request: web.Request) -> web.Response:
    """Launch options and sizes."""
    emulator = request.app[EMULATOR]
    config = emulator.config
    load = emulator.player.load()
    info: Json = {
        "model_path": config.models[0],
        "served_model_name": config.models[0],
        "version": VERSIONS["sglang"],
        "schedule_policy": config.policy,
        "enable_priority_scheduling": config.priority,
        "chunked_prefill_size": config.chunk_tokens,
        "page_size": config.block_size or 1,
        "context_length": config.context,
        "max_running_requests": config.max_running or MAX_RUNNING,
        "max_total_num_tokens": load.kv_tokens,
        "disable_radix_cache": False,
        "enable_cache_report": config.report_cached_tokens,
        "internal_states": [{"max_total_num_tokens": load.kv_tokens}],
    }
    return web.json_response(info)


@routes.get("/model_info")
@routes.get("/get_model_info")
async def model_info(request: web.Request) -> web.Response:
    """The model's name."""
    name = request.app[EMULATOR].config.models[0]
    return web.json_response({"model_path": name, "tokenizer_path": name, "is_generation": True})


@routes.get("/v1/loads")
async def loads(request: web.Request) -> web.Response:
    """How busy the one data-parallel rank is."""
    emulator = request.app[EMULATOR]
    load = emulator.player.load()
    rank: Json = {
        "dp_rank": 0,
        "num_running_reqs": load.running,
        "num_waiting_reqs": load.waiting,
        "num_total_reqs": load.running + load.waiting,
        "num_used_tokens": load.kv_used,
        "max_total_num_tokens": load.kv_tokens,
        "max_running_requests": emulator.config.max_running or MAX_RUNNING,
        "token_usage": load.kv_used / load.kv_tokens,
        "cache_hit_rate": hit_rate(load),
        "queues": {"waiting": load.waiting, "grammar": 0, "paused": 0, "retracted": 0},
    }
    reply = {"timestamp": time.time(), "version": VERSIONS["sglang"], "dp_rank_count": 1}
    return web.json_response(reply | {"loads": [rank]})


@routes.get("/health_generate")
@routes.get("/ready")
async def health_generate(request: web.Request) -> web.Response:
    """200: the model is always healthy."""
    return web.Response()


@routes.get("/flush_cache")
@routes.post("/flush_cache")
async def flush_cache(request: web.Request) -> web.Response:
    """Forget every prefix; 400 while busy."""
    if request.app[EMULATOR].player.flush_cache():
        return web.Response(text="Cache flushed.\n")
    return web.Response(status=400, text="Flush cache failed: there are requests.\n")


def _ask(emulator: Emulator, body: bodies.GenerateBody, prompts: list[Sequence[int]]) -> Ask:
    """A batch has one set of parameters, or equal ones; its first rid names it."""
    params = body.sampling_params or bodies.SamplingParams()
    if isinstance(params, list):
        if any(other != params[0] for other in params):
            raise Refused(400, "The emulator takes one sampling_params for a batch.")
        params = params[0]
    rid = body.rid[0] if isinstance(body.rid, list) and body.rid else body.rid
    return Ask(
        id=rid if isinstance(rid, str) else emulator.new_id(),
        model=emulator.config.models[0],
        prompts=prompts,
        max_tokens=params.max_new_tokens,
        n=params.n,
        priority=body.priority or 0,
        stream=bool(body.stream),
        salt=(body.cache_salt or "") + (body.extra_key or ""),
    )
