"""Anthropic's own client, told nothing but the proxy's address."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anthropic
import pytest
from anthropic.types import MessageParam

MODEL = "emulated"
HELLO: list[MessageParam] = [{"role": "user", "content": "hello"}]
BOTH = 4
"""Requests in a row that reach both emulated engines in turn."""


@pytest.fixture
async def client(base: str) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """It does not retry: a first failure is a failure."""
    async with anthropic.AsyncAnthropic(base_url=base, api_key="none", max_retries=0) as client:
        yield client


async def test_messages(client: anthropic.AsyncAnthropic) -> None:
    """A message whole and streamed says the same, from either engine."""
    for _ in range(BOTH):
        whole = await client.messages.create(model=MODEL, max_tokens=5, messages=HELLO)
        async with client.messages.stream(model=MODEL, max_tokens=5, messages=HELLO) as stream:
            pieces = [text async for text in stream.text_stream]
            final = await stream.get_final_message()
        assert [block.text for block in whole.content if block.type == "text"] == ["".join(pieces)]
        assert whole.usage.output_tokens == final.usage.output_tokens == 5
        assert whole.stop_reason == final.stop_reason == "max_tokens"


async def test_models(client: anthropic.AsyncAnthropic) -> None:
    """Its list of models can be read."""
    assert [model.id async for model in client.models.list()] == [MODEL]


async def test_an_unknown_model_is_named(client: anthropic.AsyncAnthropic) -> None:
    """The refusal has Anthropic's shape."""
    with pytest.raises(anthropic.NotFoundError, match="`nope` does not exist"):
        await client.messages.create(model="nope", max_tokens=5, messages=HELLO)
