"""A scripted engine that every proxy takes for a real one, and that fails as a probe wants it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from weakref import WeakSet

import msgspec
from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ABOUT: dict[str, object] = {
    "status": "ok",
    "version": "0.11.0",
    "model_path": "m",
    "served_model_name": "m",
    "tokenizer_path": "m",
    "object": "list",
    "data": [{"id": "m", "object": "model", "owned_by": "vllm", "max_model_len": 131072}],
}
"""The answer to any question that is no generation: enough for all of them to take it in."""
COMPLETION: dict[str, object] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello there, this is it."},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 8, "total_tokens": 17},
}
EVENT = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}\n\n'
)
RETRY_AFTER = "7"
PAUSE = 0.1
"""Seconds between the pieces of a reply before death: its end would overtake them."""


class Mood(Enum):
    """How generations go."""

    GOOD = auto()
    SILENT = auto()
    """Nothing comes; the connection stays open."""
    DIES = auto()
    """The connection is reset in the middle of the reply."""
    DROPS_REUSED = auto()
    """A connection on which one was answered is reset when the next one comes."""
    BUSY = auto()
    """429 with a Retry-After."""
    UNAVAILABLE = auto()
    """503 with a Retry-After."""


REFUSALS = {Mood.BUSY: 429, Mood.UNAVAILABLE: 503}


class ScriptedEngine:
    """One of them, on a port of its own."""

    def __init__(self) -> None:
        self.mood = Mood.GOOD
        self.thawed = asyncio.Event()
        """Unset: it takes connections and requests, and answers none, of whatever kind."""
        self.thawed.set()
        self.asked = 0
        """Generations asked for."""
        self.left = asyncio.Event()
        """Set when a connection was closed on which a generation was under way."""
        self._used: WeakSet[asyncio.BaseTransport] = WeakSet()
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen."""
        app = web.Application(middlewares=[self._freeze], client_max_size=1 << 26)
        app.router.add_post("/v1/chat/completions", self._generate)
        app.router.add_route("*", "/{path:.*}", self._tell)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        self.port = runner.addresses[0][1]
        self._runner = runner

    async def close(self) -> None:
        """Close the port and every connection."""
        self.thawed.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _freeze(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        await self.thawed.wait()
        return await handler(request)

    async def _tell(self, request: web.Request) -> web.Response:
        if request.path == "/metrics":
            return web.Response(text='vllm:num_requests_running{model_name="m"} 0\n')
        return web.json_response(ABOUT)

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        body = msgspec.json.decode(await request.read())
        self.asked += 1
        transport = request.transport
        assert transport is not None
        reused = transport in self._used
        self._used.add(transport)
        if self.mood is Mood.SILENT:
            try:
                await asyncio.Event().wait()
            finally:
                self.left.set()
        if self.mood is Mood.DROPS_REUSED and reused:
            transport.abort()
        if self.mood in REFUSALS:
            headers = {"Retry-After": RETRY_AFTER}
            error = {"error": {"message": "scripted", "type": "scripted", "code": "scripted"}}
            return web.json_response(error, status=REFUSALS[self.mood], headers=headers)
        return await self._reply(request, stream=bool(body.get("stream")))

    async def _reply(self, request: web.Request, *, stream: bool) -> web.StreamResponse:
        """Half of it before death, if that is what is wanted."""
        whole = [EVENT] * 9 + [b"data: [DONE]\n\n"] if stream else [msgspec.json.encode(COMPLETION)]
        kind = "text/event-stream" if stream else "application/json"
        response = web.StreamResponse(headers={"Content-Type": kind})
        if not stream:
            response.content_length = len(whole[0])
        await response.prepare(request)
        if self.mood is Mood.DIES:
            for piece in whole[:8] if stream else [whole[0][:100]]:
                await response.write(piece)
                await asyncio.sleep(PAUSE)
            assert request.transport is not None
            request.transport.abort()
            return response
        for piece in whole:
            await response.write(piece)
        return response
