"""The HTTP routes that both engines have."""

from __future__ import annotations

import time
from collections.abc import Sequence

from aiohttp import web

from paceline.engines.emulator import bodies
from paceline.engines.emulator.emulator import Emulator
from paceline.engines.emulator.generation import Ask
from paceline.engines.emulator.shapes import ChatShape, CompletionShape, Json
from paceline.engines.emulator.text import answer, tokenize, tokenize_chat

EMULATOR = web.AppKey("emulator", Emulator)
EMBEDDING_SIZE = 8
VERSIONS = {"vllm": "0.33.0", "sglang": "0.5.23"}
"""The releases whose rules the models follow."""

routes = web.RouteTableDef()


@routes.post("/v1/completions")
async def completions(request: web.Request) -> web.StreamResponse:
    """OpenAI completions: text, texts, token ids, or lists of them."""
    emulator = request.app[EMULATOR]
    body = bodies.decode(await request.read(), bodies.CompletionBody)
    prompts = [emulator.ids(prompt) for prompt in bodies.as_prompts(body.prompt)]
    ask = _openai_ask(request, emulator, body, prompts, "cmpl-")
    report = emulator.config.report_cached_tokens
    return await emulator.serve(request, ask, CompletionShape(_now(), report_cached=report))


@routes.post("/v1/chat/completions")
async def chat(request: web.Request) -> web.StreamResponse:
    """OpenAI chat."""
    emulator = request.app[EMULATOR]
    body = bodies.decode(await request.read(), bodies.ChatBody)
    prompt = tokenize_chat(body.messages, body.tools)
    ask = _openai_ask(request, emulator, body, [prompt], "chatcmpl-")
    report = emulator.config.report_cached_tokens
    return await emulator.serve(request, ask, ChatShape(_now(), report_cached=report))


@routes.post("/v1/embeddings")
async def embeddings(request: web.Request) -> web.Response:
    """Small vectors that depend on the text alone; no engine time is modelled."""
    emulator = request.app[EMULATOR]
    body = bodies.decode(await request.read(), bodies.EmbeddingBody)
    prompts = [emulator.ids(prompt) for prompt in bodies.as_prompts(body.input)]
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(prompt)}
        for index, prompt in enumerate(prompts)
    ]
    tokens = sum(len(prompt) for prompt in prompts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    reply = {"object": "list", "data": data, "model": emulator.model(body.model), "usage": usage}
    return web.json_response(reply)


@routes.post("/tokenize")
async def tokenize_route(request: web.Request) -> web.Response:
    """Token ids of a prompt or a conversation."""
    emulator = request.app[EMULATOR]
    body = bodies.decode(await request.read(), bodies.TokenizeBody)
    emulator.model(body.model)
    if body.messages is not None:
        ids = tokenize_chat(body.messages, body.tools)
    else:
        ids = tokenize(body.prompt or "")
    reply = {"count": len(ids), "max_model_len": emulator.config.context, "tokens": ids.tolist()}
    return web.json_response(reply)


@routes.get("/v1/models")
async def models(request: web.Request) -> web.Response:
    """The models that it serves."""
    emulator = request.app[EMULATOR]
    created = int(emulator.started_at)
    owner = emulator.config.kind
    data: list[Json] = [
        {
            "id": name,
            "object": "model",
            "created": created,
            "owned_by": owner,
            "root": name,
            "max_model_len": emulator.config.context,
        }
        for name in emulator.config.models
    ]
    return web.json_response({"object": "list", "data": data})


@routes.get("/health")
async def health(request: web.Request) -> web.Response:
    """200 and nothing else."""
    return web.Response()


def _openai_ask(
    request: web.Request,
    emulator: Emulator,
    body: bodies.OpenAIBody,
    prompts: list[Sequence[int]],
    prefix: str,
) -> Ask:
    options = body.stream_options
    limit = body.max_completion_tokens
    named = body.rid or body.request_id or request.headers.get("X-Request-Id")
    return Ask(
        id=f"{prefix if emulator.config.kind == 'vllm' else ''}{named}"
        if named
        else emulator.new_id(prefix),
        model=emulator.model(body.model),
        prompts=prompts,
        max_tokens=body.max_tokens if limit is None else limit,
        n=1 if body.n is None else body.n,
        priority=body.priority or 0,
        stream=bool(body.stream),
        include_usage=options is not None and options.include_usage,
        salt=(body.cache_salt or "")
        + ((body.extra_key or "") if emulator.config.kind == "sglang" else ""),
    )


def _vector(prompt: Sequence[int]) -> list[float]:
    text = answer(prompt, 0, EMBEDDING_SIZE // 4)
    return [(ord(char) - 96) / 26 for char in text]


def _now() -> int:
    return int(time.time())
