"""OpenAI's own client, told nothing but the address; what real engines add is in tests/real."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from openai.types.responses import Response

MODEL = "emulated"
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]
BOTH = 4
"""Requests in a row that are not scheduled and so reach both emulated engines in turn."""


@pytest.fixture
async def client(base: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """It does not retry: a first failure is a failure."""
    async with openai.AsyncOpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def blocking(base: str) -> Iterator[openai.OpenAI]:
    """The same without asyncio."""
    with openai.OpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0) as client:
        yield client


async def test_models(client: openai.AsyncOpenAI) -> None:
    """The list names each model once; one of them can be asked for by its name."""
    assert [model.id async for model in client.models.list()] == [MODEL]
    for _ in range(BOTH):
        assert (await client.models.retrieve(MODEL)).id == MODEL
    with pytest.raises(openai.NotFoundError, match="`nope` does not exist"):
        await client.models.retrieve("nope")


async def test_streams(client: openai.AsyncOpenAI) -> None:
    """Chat and completion say the same streamed and whole, the usage last."""
    chat = await client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=5)
    stream = await client.chat.completions.create(
        model=MODEL,
        messages=HELLO,
        max_tokens=5,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert said == chat.choices[0].message.content
    assert chunks[-1].usage == chat.usage
    whole = await client.completions.create(model=MODEL, prompt="once", max_tokens=5)
    pieces = await client.completions.create(model=MODEL, prompt="once", max_tokens=5, stream=True)
    assert "".join([p.choices[0].text async for p in pieces]) == whole.choices[0].text


async def test_responses(client: openai.AsyncOpenAI) -> None:
    """Responses come whole and as a stream of typed events, from either engine."""
    for _ in range(BOTH):
        whole = await client.responses.create(model=MODEL, input="hello", max_output_tokens=5)
        stream = await client.responses.create(
            model=MODEL, input="hello", max_output_tokens=5, stream=True
        )
        events = [event async for event in stream]
        assert whole.usage is not None
        assert whole.usage.output_tokens == 5
        said = "".join(e.delta for e in events if e.type == "response.output_text.delta")
        assert said == whole.output_text
        assert events[-1].type == "response.completed"


async def test_stored_responses(client: openai.AsyncOpenAI) -> None:
    """What follows a response, or asks for it, finds the engine that made it."""
    for streamed in (False, True) * BOTH:
        first = await answered(client, streamed=streamed)
        assert (await client.responses.retrieve(first.id)).output_text == first.output_text
        then = await client.responses.create(
            model=MODEL, input="more", previous_response_id=first.id, max_output_tokens=5
        )
        said = {"role": "assistant", "content": first.output_text}
        turns = [{"role": "user", "content": "hello"}, said, {"role": "user", "content": "more"}]
        again = await client.responses.create(
            model=MODEL,
            input=turns,  # type: ignore[arg-type]
            max_output_tokens=5,
        )
        assert then.output_text == again.output_text
        assert (await client.responses.cancel(then.id)).id == then.id
    with pytest.raises(openai.NotFoundError, match="No engine here has a response"):
        await client.responses.retrieve("resp_unknown")


async def answered(client: openai.AsyncOpenAI, *, streamed: bool) -> Response:
    """A response to HELLO."""
    if not streamed:
        return await client.responses.create(model=MODEL, input="hello", max_output_tokens=5)
    events = await client.responses.create(
        model=MODEL, input="hello", max_output_tokens=5, stream=True
    )
    *_, last = [event async for event in events]
    assert last.type == "response.completed"
    return last.response


async def test_embeddings(client: openai.AsyncOpenAI) -> None:
    """A vector for each text, in their order, however the client encodes them."""
    texts = ["one", "two", "one"]
    for _ in range(BOTH):
        one, two, again = (await client.embeddings.create(model=MODEL, input=texts)).data
        assert one.embedding == again.embedding != two.embedding


async def test_what_is_wrong_is_an_error_the_client_knows(client: openai.AsyncOpenAI) -> None:
    """The proxy's own refusals and the engines' become the client's exceptions."""
    with pytest.raises(openai.NotFoundError, match="`nope` does not exist"):
        await client.chat.completions.create(model="nope", messages=HELLO)
    with pytest.raises(openai.BadRequestError, match="messages"):
        await client.chat.completions.create(model=MODEL, messages=[])
    with pytest.raises(openai.NotFoundError, match="`nope` does not exist"):
        await client.responses.create(model="nope", input="hello")


def test_without_asyncio(blocking: openai.OpenAI) -> None:
    """The blocking client works as well, headers of the proxy's own included."""
    raw = blocking.chat.completions.with_raw_response.create(
        model=MODEL, messages=HELLO, max_tokens=3, extra_headers={"x-request-id": "mine"}
    )
    assert raw.headers["x-request-id"] == "mine"
    assert raw.headers["x-paceline-backend"].startswith("emulated-")
    assert raw.parse().choices[0].finish_reason == "length"
