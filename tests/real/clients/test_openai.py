"""OpenAI's client with what only real engines have: schemas, tools, responses, embeddings."""

from __future__ import annotations

import json
from collections.abc import Iterator

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionNamedToolChoiceParam
from openai.types.chat.chat_completion_message_function_tool_call_param import Function

from tests.real.clients.shapes import NO_SPACE, Colour
from tests.real.engines import MODEL

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

WHICH: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Which?"}]
TOOL = openai.pydantic_function_tool(Colour)
CHOSEN: ChatCompletionNamedToolChoiceParam = {"type": "function", "function": {"name": "Colour"}}


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    """It does not retry: a first failure is a failure."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_models(client: openai.OpenAI) -> None:
    """The list and one model of it, though vLLM has only the list."""
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # SGLang's `metadata`
def test_structured_outputs(client: openai.OpenAI) -> None:
    """A chat is parsed into the type that was asked for, whole and streamed."""
    whole = client.chat.completions.parse(
        model=MODEL, messages=WHICH, response_format=Colour, temperature=0, max_tokens=80
    )
    assert isinstance(whole.choices[0].message.parsed, Colour)
    with client.chat.completions.stream(
        model=MODEL, messages=WHICH, response_format=Colour, temperature=0, max_tokens=80
    ) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.parsed == whole.choices[0].message.parsed


def test_tools(client: openai.OpenAI) -> None:
    """A tool call has the arguments that its schema asks for, and its result can be sent back."""
    reply = client.chat.completions.create(
        model=MODEL,
        messages=WHICH,
        tools=[TOOL],
        tool_choice=CHOSEN,
        logit_bias=NO_SPACE,
        temperature=0,
        max_tokens=100,
    )
    (call,) = [
        call for call in reply.choices[0].message.tool_calls or [] if call.type == "function"
    ]
    assert call.function.name == "Colour"
    assert Colour.model_validate_json(call.function.arguments)
    after = client.chat.completions.create(
        model=MODEL,
        messages=[*WHICH, *answered(call.id, call.function.arguments)],
        tools=[TOOL],
        max_tokens=4,
        extra_body={"ignore_eos": True},
    )
    assert after.usage is not None
    assert after.usage.completion_tokens == 4


def answered(id: str, arguments: str) -> list[ChatCompletionMessageParam]:
    """The call and its result, as the next turn repeats them."""
    function: Function = {"name": "Colour", "arguments": arguments}
    return [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": id, "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": id, "content": "noted"},
    ]


def test_streamed_tools(client: openai.OpenAI) -> None:
    """The pieces of a streamed tool call make up its arguments."""
    stream = client.chat.completions.create(
        model=MODEL,
        messages=WHICH,
        tools=[TOOL],
        tool_choice=CHOSEN,
        logit_bias=NO_SPACE,
        temperature=0,
        max_tokens=100,
        stream=True,
    )
    deltas = [chunk.choices[0].delta for chunk in stream if chunk.choices]
    calls = [call.function for delta in deltas for call in delta.tool_calls or () if call.function]
    assert "".join(call.name or "" for call in calls) == "Colour"
    assert Colour.model_validate_json("".join(call.arguments or "" for call in calls))


def test_responses(client: openai.OpenAI) -> None:
    """Whole, as a stream of events, and parsed into a type."""
    whole = client.responses.create(model=MODEL, input="hello", max_output_tokens=8, temperature=0)
    events = list(
        client.responses.create(
            model=MODEL, input="hello", max_output_tokens=8, temperature=0, stream=True
        )
    )
    assert whole.usage is not None
    assert events[0].type == "response.created"
    assert events[-1].type in ("response.completed", "response.incomplete")
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert said
    assert whole.output_text
    parsed = client.responses.parse(
        model=MODEL, input="which?", text_format=Colour, temperature=0, max_output_tokens=80
    )
    assert isinstance(parsed.output_parsed, Colour)


def test_log_probabilities(client: openai.OpenAI) -> None:
    """As many as tokens were asked for, with their alternatives."""
    chat = client.chat.completions.create(
        model=MODEL,
        messages=WHICH,
        max_tokens=3,
        logprobs=True,
        top_logprobs=2,
        extra_body={"ignore_eos": True},
    )
    logprobs = chat.choices[0].logprobs
    assert logprobs is not None
    assert [len(one.top_logprobs) for one in logprobs.content or ()] == [2, 2, 2]


def test_the_engines_refusals(client: openai.OpenAI) -> None:
    """They come through as the client's exceptions, in the engine's words."""
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.chat.completions.create(model=MODEL, messages=WHICH, temperature=-1)


def test_embeddings(embedder: str) -> None:
    """A pooling model behind the same proxy as a generating one: each is found by its name."""
    with openai.OpenAI(base_url=f"{embedder}/v1", api_key="none", max_retries=0) as client:
        assert sorted(model.id for model in client.models.list()) == [MODEL, f"{MODEL}-embed"]
        texts = ["ba be bi", "do du", "ba be bi"]
        reply = client.embeddings.create(model=f"{MODEL}-embed", input=texts)
        one, two, again = [item.embedding for item in reply.data]
        assert one == pytest.approx(again, abs=1e-4)
        assert one != pytest.approx(two, abs=1e-4)
        assert (
            json.loads(
                client.chat.completions.with_raw_response.create(
                    model=MODEL, messages=WHICH, max_tokens=2
                ).text
            )["model"]
            == MODEL
        )
