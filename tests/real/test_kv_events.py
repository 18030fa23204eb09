"""With its tokenizer and KV events, what is predicted of an engine's cache is what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paceline.engines.tokens import ModelTokens
from tests.real.client import Json, ask, completion, until
from tests.real.engines import BLOCK_SIZE, MODEL, POOL_TOKENS, Engine
from tests.real.proxy import Proxy, serving
from tests.real.tiny_llama import words

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

SYSTEM, QUESTION, ANSWER, FILLER = 400, 60, 40, 1500


def chat(*texts: str) -> Json:
    """A conversation's next turn: system prompt, then questions and answers in turn."""
    roles = ["system", *["user", "assistant"] * len(texts)]
    said = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
    return {
        "model": MODEL,
        "messages": said,
        "max_tokens": ANSWER,
        "temperature": 0,
        "ignore_eos": True,
    }


async def turn(proxy: Proxy, body: Json) -> tuple[int, int, int, str]:
    """Tokens predicted and reported cached, the prompt's tokens, and the answer."""
    reply = await ask(proxy.url, "/v1/chat/completions", body)
    assert reply.status == 200, reply.body
    (answer,) = reply.events
    usage: Any = answer["usage"]
    return (
        int(reply.headers["x-paceline-cached-tokens"]),
        usage["prompt_tokens_details"]["cached_tokens"],
        usage["prompt_tokens"],
        answer["choices"][0]["message"]["content"],
    )


def near(engine: Engine, predicted: int, reported: int) -> bool:
    """To the coarser block of the two; ours have 16 tokens up to 512, then 32."""
    return reported - 32 <= predicted <= reported + max(32, BLOCK_SIZE[engine.kind])


async def followed(proxy: Proxy) -> None:
    """Return when the scheduler knows what the engine has."""
    await until("exact", proxy.state, lambda s: all(b["exact"] for b in s["backends"]), 20)


async def test_what_is_predicted_is_what_is_cached(engine: Engine, tmp_path: Path) -> None:
    """Of the prompt before, its answer included, what the engine evicts, and what others sent."""
    name = f"events {engine.kind}"
    system, first, second = words(name, SYSTEM), words(f"{name} 1", QUESTION), words("2", QUESTION)
    tokens = ModelTokens(engine.model)
    async with serving([engine], tmp_path, follow=True) as proxy:
        await followed(proxy)
        predicted, reported, prompt, answer = await turn(proxy, chat(system, first))
        assert near(engine, predicted, reported)
        rendered = tokens.chat(chat(system, first))
        assert rendered is not None
        assert len(tokens.encode(rendered, special=False)) == 4 * prompt

        following = chat(system, first, answer, second)
        predicted, reported, _, _ = await turn(proxy, following)
        assert near(engine, predicted, reported)
        assert predicted > SYSTEM

        for number in range(POOL_TOKENS // FILLER + 1):
            filler = completion(words(f"{name} filler {number}", FILLER), 2)
            assert (await ask(proxy.url, "/v1/completions", filler)).status == 200
        predicted, reported, _, _ = await turn(proxy, following)
        assert near(engine, predicted, reported)
        assert predicted < SYSTEM

        other = chat(words(f"{name} direct", SYSTEM), first)
        assert (await ask(engine.url, "/v1/chat/completions", other)).status == 200
        predicted, reported, _, _ = await turn(proxy, other)
        assert near(engine, predicted, reported)
        assert predicted > SYSTEM
