"""The paths that the proxy answers itself."""

from __future__ import annotations

import json

from tests.proxy.rig import Answer, Proxy, free_port, proxied
from tests.proxy.scripted import Conversation, Script, always, reply


async def get(proxy: Proxy, path: str) -> Answer:
    """The answer to a GET."""
    client = await proxy.dial()
    client.say(f"GET {path} HTTP/1.1\r\nHost: p\r\nAuthorization: Bearer k\r\n\r\n".encode())
    return await client.answer()


def serving(*models: str) -> Script:
    """An engine with these models, for whoever brings the key."""
    listed = json.dumps(
        {"object": "list", "data": [{"id": one, "owned_by": "x"} for one in models]}
    )

    async def script(conversation: Conversation) -> None:
        head, _ = await conversation.request()
        allowed = "Authorization: Bearer k\r\n" in head
        await conversation.say(reply(listed.encode()) if allowed else reply(b"", "401 No"))

    return script


async def test_own_paths_answer_without_engines() -> None:
    """Health, metrics and state depend on no engine; readiness does."""
    async with proxied() as proxy:
        assert (await get(proxy, "/health")).status == 200
        assert (await get(proxy, "/ready")).status == 503
        assert (await get(proxy, "/paceline/state")).body == b'{"waiting":0}'
        metrics = await get(proxy, "/metrics")
    assert metrics.body == b"metric 1\n"
    assert metrics.headers("content-type") == ["text/plain; version=0.0.4"]


async def test_ready_with_an_engine() -> None:
    """One engine is enough."""
    async with proxied(always(reply())) as proxy:
        assert (await get(proxy, "/ready")).status == 200


async def test_unknown_path_of_our_own_is_a_404() -> None:
    """It is not passed to an engine."""
    async with proxied(always(reply())) as proxy:
        assert (await get(proxy, "/paceline/nothing")).status == 404
    assert proxy.engines[0].conversations == []


async def test_models_are_merged() -> None:
    """Each model is named once, whoever has it; an engine that is down does not matter."""
    async with proxied(serving("a", "b"), serving("b", "c"), free_port()) as proxy:
        answer = await get(proxy, "/v1/models")
    assert [one["id"] for one in json.loads(answer.body)["data"]] == ["a", "b", "c"]
    assert json.loads(answer.body)["data"][0]["owned_by"] == "x"


async def test_one_model_is_found_whoever_has_it() -> None:
    """By its name, slashes included; for a name that nobody has, the error says which."""
    async with proxied(serving("a"), serving("org/b", "c")) as proxy:
        for path in ("/v1/models/org%2Fb", "/v1/models/org/b"):
            answer = await get(proxy, path)
            assert (answer.status, json.loads(answer.body)["id"]) == (200, "org/b")
        answer = await get(proxy, "/v1/models/d")
    assert (answer.status, answer.headers("x-paceline-reason")) == (404, ["model_not_found"])
    assert "`d`" in json.loads(answer.body)["error"]["message"]


async def test_models_of_engines_that_refuse_are_their_refusal() -> None:
    """A client without the engines' key is told so."""
    async with proxied(always(reply(b'{"error":"key"}', "401 Unauthorized"))) as proxy:
        answer = await get(proxy, "/v1/models")
    assert (answer.status, answer.body) == (401, b'{"error":"key"}')


async def test_models_without_engines_is_a_503() -> None:
    """With Retry-After."""
    async with proxied(free_port()) as proxy:
        answer = await get(proxy, "/v1/models")
    assert (answer.status, answer.headers("retry-after")) == (503, ["1"])


async def test_options_and_head_reach_the_engine() -> None:
    """CORS preflights and HEADs are answered by whoever serves the path."""
    async with proxied(always(b"HTTP/1.1 204 No Content\r\nAllow: POST\r\n\r\n")) as proxy:
        client = await proxy.dial()
        for method in (b"OPTIONS", b"HEAD"):
            client.say(method + b" /v1/chat/completions HTTP/1.1\r\nHost: p\r\n\r\n")
            assert b"Allow: POST" in await client.head()
