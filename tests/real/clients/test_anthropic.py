"""Anthropic's client: both engines speak `/v1/messages` themselves."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import pytest
from anthropic.types import MessageParam, ToolParam

from tests.real.clients.shapes import Colour
from tests.real.engines import MODEL

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

WHICH: list[MessageParam] = [{"role": "user", "content": "Which?"}]
GREEDY = {"temperature": 0}
TOOL: ToolParam = {"name": "colour", "input_schema": Colour.model_json_schema()}


@pytest.fixture
def client(url: str) -> Iterator[anthropic.Anthropic]:
    """It does not retry: a first failure is a failure."""
    with anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as client:
        yield client


def test_messages(client: anthropic.Anthropic) -> None:
    """A message says the same whole and streamed, and its tokens are counted."""
    whole = client.messages.create(
        model=MODEL, max_tokens=8, messages=WHICH, system="Be brief.", extra_body=GREEDY
    )
    with client.messages.stream(
        model=MODEL, max_tokens=8, messages=WHICH, system="Be brief.", extra_body=GREEDY
    ) as stream:
        said = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert [block.text for block in whole.content if block.type == "text"] == [said]
    assert whole.usage.output_tokens == final.usage.output_tokens == 8
    assert final.stop_reason == "max_tokens"
    assert client.messages.count_tokens(model=MODEL, messages=WHICH).input_tokens > 0


def test_tools_are_taken(client: anthropic.Anthropic) -> None:
    """A message that offers a tool is answered (random weights do not choose to call it)."""
    reply = client.messages.create(model=MODEL, max_tokens=8, messages=WHICH, tools=[TOOL])
    assert reply.usage.input_tokens > 0
    assert [model.id for model in client.models.list()] == [MODEL]


def test_refusals(client: anthropic.Anthropic) -> None:
    """The engine's and the proxy's own become the client's exceptions."""
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        client.messages.create(model=MODEL, max_tokens=-1, messages=WHICH)
    with pytest.raises(anthropic.NotFoundError, match="`nope` does not exist"):
        client.messages.create(model="nope", max_tokens=8, messages=WHICH)
