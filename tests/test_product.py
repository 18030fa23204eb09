"""The product as its users meet it: `paceline serve` alone, and the clients they have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import aiohttp
import openai
import pytest

from tests.served import served

SYSTEM = "You answer in the fewest words that will do, and never apologise. " * 60


@pytest.fixture
def base() -> Iterator[str]:
    """The address of a proxy in front of two embedded engines."""
    with served() as base:
        yield base


@pytest.fixture
async def client(base: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's own client, told nothing but the address."""
    async with openai.AsyncOpenAI(base_url=f"{base}/v1", api_key="none") as client:
        yield client


async def test_the_openai_client(client: openai.AsyncOpenAI) -> None:
    """Models, chat, completion and streaming work as they are."""
    (model,) = [model.id for model in (await client.models.list()).data]
    chat = await client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "hello"}], max_tokens=5
    )
    assert chat.usage is not None
    assert chat.usage.completion_tokens == 5
    text = await client.completions.create(model=model, prompt="once upon", max_tokens=3)
    assert text.choices[0].finish_reason == "length"
    stream = await client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "hello"}],
        max_tokens=5,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    streamed = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert streamed == chat.choices[0].message.content
    assert chunks[-1].usage is not None


async def test_an_unknown_model_is_named(client: openai.AsyncOpenAI) -> None:
    """The error is the one that OpenAI's client knows, and says which model."""
    with pytest.raises(openai.NotFoundError, match="`nope` does not exist"):
        await client.completions.create(model="nope", prompt="x")


async def test_a_second_wave_hits_the_cache(client: openai.AsyncOpenAI) -> None:
    """32 at once with one system prompt; whoever comes later finds it computed, as predicted."""

    async def ask(question: str) -> tuple[int, int]:
        reply = await client.chat.completions.with_raw_response.create(
            model="emulated",
            messages=[
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": question},
            ],
            max_tokens=4,
        )
        usage = reply.parse().usage
        assert usage is not None
        assert usage.prompt_tokens_details is not None
        cached = usage.prompt_tokens_details.cached_tokens or 0
        return cached, int(reply.headers["x-paceline-cached-tokens"])

    first = await asyncio.gather(*(ask(f"first {number}") for number in range(32)))
    assert sum(cached == 0 for cached, _ in first) <= 2, "one leader an engine"
    second = await asyncio.gather(*(ask(f"second {number}") for number in range(32)))
    for cached, predicted in second:
        assert 900 < cached < 1100
        assert 0.8 * cached < predicted <= cached


async def test_native_requests_go_to_sglang(base: str) -> None:
    """`/generate` is an API that only one of the two engines has."""
    async with aiohttp.ClientSession() as session:
        for _ in range(4):
            body = {"text": "hello", "sampling_params": {"max_new_tokens": 3}}
            async with session.post(f"{base}/generate", json=body) as reply:
                assert reply.headers["x-paceline-backend"] == "emulated-sglang"
                assert (await reply.json())["meta_info"]["completion_tokens"] == 3
