"""What the proxy found out by asking is what the engines were started with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paceline.engines.adapter import MODELS
from paceline.engines.base import Load
from paceline.engines.recognise import ADAPTERS, ASK, recognise
from tests.real.client import ask, completion, opened, until
from tests.real.conftest import Engines
from tests.real.engines import BLOCK_SIZE, CHUNK_TOKENS, MAX_RUNNING, MODEL, POOL_TOKENS, Engine
from tests.real.proxy import serving
from tests.real.test_answers import content
from tests.real.tiny_llama import words

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


async def test_adapter(engine: Engine) -> None:
    """The engine is recognised, and its facts are the options it was started with."""
    replies = await every_reply(engine)
    assert recognise(replies) == engine.kind
    facts = ADAPTERS[engine.kind].facts(replies)
    assert facts.models == (MODEL,)
    assert facts.kv_tokens is not None
    assert POOL_TOKENS - BLOCK_SIZE[engine.kind] <= facts.kv_tokens <= POOL_TOKENS
    assert facts.block_size == BLOCK_SIZE[engine.kind]
    told = (CHUNK_TOKENS, MAX_RUNNING) if engine.kind == "sglang" else (None, None)
    assert (facts.chunk_tokens, facts.max_running) == told
    assert facts.started_at is not None


async def every_reply(engine: Engine) -> dict[str, bytes]:
    """The replies that an unknown server is judged by."""
    replies = {path: await ask(engine.url, path) for path in (MODELS, *ASK)}
    return {path: reply.body for path, reply in replies.items() if reply.status == 200}


async def test_load(engine: Engine) -> None:
    """The load that the adapter reads is what runs there, and nothing when it is idle."""
    adapter = ADAPTERS[engine.kind]

    async def load() -> Load | None:
        return adapter.load((await ask(engine.url, adapter.loads[0])).body)

    def running(count: int) -> Callable[[Load | None], bool]:
        return lambda seen: seen is not None and (seen.running, seen.waiting) == (count, 0)

    body = completion(words("load", 20), 1000, stream=True)
    await until("idle", load, running(0), 10)
    async with opened(engine.url, body), opened(engine.url, body):
        await until("two run", load, running(2), 10)
    await until("idle again", load, running(0), 10)


async def test_models_and_pool(engine: Engine, tmp_path: Path) -> None:
    """The state names the engine's model and the size of its pool, to a block."""
    async with serving([engine], tmp_path) as proxy:
        [backend] = (await proxy.state())["backends"]
    assert backend["id"] == engine.kind
    assert backend["models"] == [MODEL]
    assert POOL_TOKENS - BLOCK_SIZE[engine.kind] <= backend["kv_tokens"] <= POOL_TOKENS


async def test_models_are_merged(engines: Engines, tmp_path: Path) -> None:
    """Two engines with one model are one entry in /v1/models."""
    async with serving(list(engines.values()), tmp_path) as proxy:
        [listing] = (await ask(proxy.url, "/v1/models")).events
    assert listing["object"] == "list"
    assert [model["id"] for model in listing["data"]] == [MODEL]


async def test_unknown_model(engine: Engine, tmp_path: Path) -> None:
    """A model that no engine serves is a 404 in OpenAI's words, on SGLang too, which has none."""
    body = completion("whatever", 2, model="no-such-model")
    async with serving([engine], tmp_path) as proxy:
        reply = await ask(proxy.url, "/v1/completions", body)
    assert reply.status == 404
    assert reply.events[0]["error"]["code"] == "model_not_found"


OTHER_PATHS: dict[str, dict[str, Any]] = {
    "/tokenize": {"model": MODEL, "prompt": words("counted", 9)},
    "/detokenize": {"model": MODEL, "tokens": [400, 500]},
    "/v1/embeddings": {"model": MODEL, "input": "this model has none"},
}


@pytest.mark.parametrize("path", OTHER_PATHS)
async def test_other_paths_pass_through(path: str, engine: Engine, tmp_path: Path) -> None:
    """What is not generation is answered by the engine, errors included."""
    direct = await ask(engine.url, path, OTHER_PATHS[path])
    async with serving([engine], tmp_path) as proxy:
        proxied = await ask(proxy.url, path, OTHER_PATHS[path])
    assert content(proxied) == content(direct)


async def test_both_engines_are_used(engines: Engines, tmp_path: Path) -> None:
    """Unrelated requests at the same time are spread over the engines."""
    bodies = [completion(words(f"spread {i}", 300), 16) for i in range(8)]
    async with serving(list(engines.values()), tmp_path) as proxy:
        replies = await asyncio.gather(
            *(ask(proxy.url, "/v1/completions", body) for body in bodies)
        )
    assert {reply.headers["x-paceline-backend"] for reply in replies} == set(engines)
