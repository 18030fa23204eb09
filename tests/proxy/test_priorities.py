"""A request's priority reaches engines that rank by it, each in its own polarity."""

from __future__ import annotations

import json
from typing import Literal

import pytest
from msgspec import structs

from paceline.proxy.config import Config
from tests.proxy.scripted import Conversation, Script, engine, reply
from tests.proxy.whole import MODELS, backend, whole

URGENT = "X-Paceline-Priority: 7"


def keeps(bodies: list[dict[str, object]]) -> Script:
    """An engine that keeps the bodies it is sent."""

    async def script(conversation: Conversation) -> None:
        while True:
            head, body = await conversation.request()
            if head.startswith("POST"):
                bodies.append(json.loads(body))
            await conversation.say(reply(b"{}") if body else MODELS)

    return script


@pytest.mark.parametrize(
    ("told", "lines", "priority"),
    [
        ("no", [URGENT], None),
        ("lower_first", [URGENT], -7),
        ("higher_first", [URGENT], 7),
        ("higher_first", [], None),
    ],
)
async def test_priority_in_the_body(
    told: Literal["no", "lower_first", "higher_first"], lines: list[str], priority: int | None
) -> None:
    """Only where it is configured, and only for requests that have one; all else stays."""
    bodies: list[dict[str, object]] = []
    async with engine(keeps(bodies)) as one:
        config = Config(backends=[structs.replace(backend(one.port), pass_priority=told)])
        async with whole(config) as proxy:
            assert (await proxy.chat(*lines)).status == 200
            await proxy.ask("POST", "/v1/embeddings", {"model": "m", "input": "x"}, *lines)
            message = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
            await proxy.ask("POST", "/v1/messages", message | {"max_tokens": 1}, *lines)
    assert bodies[2] == message | {"max_tokens": 1}
    assert bodies[0].get("priority") == priority
    assert bodies[0]["messages"]
    assert bodies[1] == {"model": "m", "input": "x"}


async def test_it_comes_before_the_clients_own() -> None:
    """The header is what the queue went by, so the engine is told the same."""
    bodies: list[dict[str, object]] = []
    async with engine(keeps(bodies)) as one:
        config = Config(backends=[structs.replace(backend(one.port), pass_priority="lower_first")])
        async with whole(config) as proxy:
            chat = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "priority": 3}
            await proxy.ask("POST", "/v1/chat/completions", chat, URGENT)
    assert bodies[0]["priority"] == -7
