"""OpenAI's Responses: made, kept under their ids, and continued from there."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

from aiohttp import web
from msgspec import Struct

from paceline.engines.emulator import bodies
from paceline.engines.emulator.emulator import Emulator
from paceline.engines.emulator.errors import Refused
from paceline.engines.emulator.generation import Ask
from paceline.engines.emulator.responses_shape import ResponsesShape
from paceline.engines.emulator.shapes import Json
from paceline.engines.emulator.text import tokenize_chat

MOST = 1000
"""Responses kept; the oldest goes first. Engines keep all of them."""


class Kept(Struct, frozen=True):
    """A response, and the conversation that it ends."""

    reply: Json
    turns: list[Json]


class Store:
    """The last responses."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Kept] = OrderedDict()

    def keep(self, id: str, kept: Kept) -> None:
        """Keep it."""
        self._kept[id] = kept
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)

    def get(self, id: str) -> Kept:
        """The one of this id; Refused with 404 as both engines word it."""
        if id not in self._kept:
            raise Refused(404, f"Response with id '{id}' not found.", "response_id")
        return self._kept[id]


def add(app: web.Application, emulator: Emulator) -> None:
    """Serve the routes."""
    store = Store()

    async def make(request: web.Request) -> web.StreamResponse:
        return await _make(request, emulator, store)

    async def show(request: web.Request) -> web.Response:
        return web.json_response(store.get(request.match_info["id"]).reply)

    app.router.add_post("/v1/responses", make)
    app.router.add_get("/v1/responses/{id}", show)
    app.router.add_post("/v1/responses/{id}/cancel", show)  # SGLang's word on one that has ended


async def _make(request: web.Request, emulator: Emulator, store: Store) -> web.StreamResponse:
    body = bodies.decode(await request.read(), bodies.ResponsesBody)
    system = [{"role": "system", "content": body.instructions}] if body.instructions else []
    asked = [{"content": body.input}] if isinstance(body.input, str) else body.input
    before = store.get(body.previous_response_id).turns if body.previous_response_id else []
    turns = [*before, *asked]
    ask = Ask(
        id=f"resp_{secrets.token_hex(16)}",  # no two engines make the same
        model=emulator.model(body.model),
        prompts=[tokenize_chat([*system, *turns], body.tools)],
        max_tokens=body.max_output_tokens,
        priority=body.priority or 0,
        stream=bool(body.stream),
    )
    keep = _keeping(store, turns) if body.store else None
    return await emulator.serve(request, ask, ResponsesShape(int(time.time()), keep))


def _keeping(store: Store, turns: list[Json]) -> Callable[[Json], None]:
    def keep(reply: Json) -> None:
        store.keep(reply["id"], Kept(reply, [*turns, *reply["output"]]))

    return keep
