"""Anthropic's own client, told nothing but the proxy's address."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anthropic
import pytest
from anthropic.types import (
    MessageParam,
    TextBlockParam,
    ToolChoiceToolParam,
    ToolParam,
    ToolUseBlock,
)

MODEL = "emulated"
HELLO: list[MessageParam] = [{"role": "user", "content": "hello"}]
WEATHER: ToolParam = {
    "name": "weather",
    "description": "Tells the weather.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
CALL: ToolChoiceToolParam = {"type": "tool", "name": "weather"}
RULES: list[TextBlockParam] = [
    {"type": "text", "text": "You know the weather. " * 200},
    {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
]
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
)
BOTH = 4
"""Requests in a row that reach both emulated engines."""


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


async def test_a_tool_is_called(client: anthropic.AsyncAnthropic) -> None:
    """Whole and streamed, with the same argument; its result, a picture in it, can be sent back."""
    whole = await client.messages.create(
        model=MODEL, max_tokens=5, messages=HELLO, tools=[WEATHER], tool_choice=CALL
    )
    async with client.messages.stream(
        model=MODEL, max_tokens=5, messages=HELLO, tools=[WEATHER], tool_choice=CALL
    ) as stream:
        final = await stream.get_final_message()
    (call,) = whole.content
    (streamed,) = final.content
    assert isinstance(call, ToolUseBlock)
    assert isinstance(streamed, ToolUseBlock)
    assert (call.name, whole.stop_reason, final.stop_reason) == ("weather", "tool_use", "tool_use")
    assert call.input == streamed.input
    assert isinstance(call.input, dict)
    assert len(str(call.input["city"])) == 20
    after = await client.messages.create(
        model=MODEL, max_tokens=5, messages=[*HELLO, *answered(call)], tools=[WEATHER]
    )
    assert [block.type for block in after.content] == ["text"]


def answered(call: ToolUseBlock) -> list[MessageParam]:
    """The call and its result, as the next turn repeats them."""
    return [
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": call.id, "name": call.name, "input": call.input}
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": call.id,
                    "content": [
                        {"type": "text", "text": "sunny"},
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
                        },
                    ],
                },
                {"type": "text", "text": "And tomorrow?"},
            ],
        },
    ]


async def test_a_conversation_stays_where_its_prefix_is(client: anthropic.AsyncAnthropic) -> None:
    """Tools and a system of blocks are found again in the cache of the engine that read them."""
    seen = set()
    for question in ("one", "two", "three", "four"):
        raw = await client.messages.with_raw_response.create(
            model=MODEL,
            max_tokens=2,
            system=RULES,
            tools=[WEATHER],
            messages=[{"role": "user", "content": question}],
        )
        seen.add(raw.headers["x-paceline-backend"])
    usage = (await raw.parse()).usage
    assert len(seen) == 1
    assert int(raw.headers["x-paceline-cached-tokens"]) > 500
    assert (usage.cache_read_input_tokens or 0) > 1000


async def test_tokens_are_counted(client: anthropic.AsyncAnthropic) -> None:
    """Of system and tools as well."""
    bare = await client.messages.count_tokens(model=MODEL, messages=HELLO)
    more = await client.messages.count_tokens(
        model=MODEL, messages=HELLO, system=RULES, tools=[WEATHER]
    )
    assert more.input_tokens > 1000 > bare.input_tokens > 0


async def test_models(client: anthropic.AsyncAnthropic) -> None:
    """Its list of models can be read."""
    assert [model.id async for model in client.models.list()] == [MODEL]


async def test_refusals_have_anthropics_shape(client: anthropic.AsyncAnthropic) -> None:
    """The proxy's and the engine's."""
    with pytest.raises(anthropic.NotFoundError, match="`nope` does not exist"):
        await client.messages.create(model="nope", max_tokens=5, messages=HELLO)
    with pytest.raises(anthropic.BadRequestError, match="messages: must not be empty"):
        await client.messages.create(model=MODEL, max_tokens=5, messages=[])
    with pytest.raises(anthropic.BadRequestError, match="tool_choice") as caught:
        await client.messages.create(model=MODEL, max_tokens=5, messages=HELLO, tool_choice=CALL)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["error"]["type"] == "invalid_request_error"
