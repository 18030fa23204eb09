"""Anthropic's Messages: text, and a call where one is demanded."""

from __future__ import annotations

from array import array

import msgspec
from aiohttp import web

from paceline.engines.emulator import bodies
from paceline.engines.emulator.errors import Refused
from paceline.engines.emulator.generation import Ask
from paceline.engines.emulator.messages_shape import MessagesShape
from paceline.engines.emulator.routes import EMULATOR
from paceline.engines.emulator.text import tokenize_chat

routes = web.RouteTableDef()


@routes.post("/v1/messages")
async def messages(request: web.Request) -> web.StreamResponse:
    """A message."""
    emulator = request.app[EMULATOR]
    body = bodies.decode(await request.read(), bodies.MessagesBody)
    ask = Ask(
        id=emulator.new_id("msg_"),
        model=emulator.model(body.model),
        prompts=[_prompt(body)],
        max_tokens=body.max_tokens,
        stream=bool(body.stream),
    )
    return await emulator.serve(request, ask, MessagesShape(_demanded(body)))


@routes.post("/v1/messages/count_tokens")
async def count_tokens(request: web.Request) -> web.Response:
    """How long the prompt is."""
    emulator = request.app[EMULATOR]
    body = bodies.decode(await request.read(), bodies.CountBody)
    emulator.model(body.model)
    return web.json_response({"input_tokens": len(_prompt(body))})


def _prompt(body: bodies.CountBody) -> array[int]:
    system = [{"role": "system", "content": body.system}] if body.system else []
    return tokenize_chat([*system, *body.messages], body.tools)


def _demanded(body: bodies.MessagesBody) -> bodies.Tool | None:
    """The tool that must be called: the one that is named, or any. Nobody calls one unasked."""
    choice = body.tool_choice
    if choice is None or choice.type not in ("any", "tool"):
        return None
    for tool in body.tools or ():
        if choice.name in (None, tool.get("name")):
            return msgspec.convert(tool, bodies.Tool)
    raise Refused(400, "tool_choice demands a tool that is not offered.", "tool_choice")
