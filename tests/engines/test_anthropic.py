"""Messages in, the chats that engines make of them out: both have the same block keys."""

from __future__ import annotations

import json
from typing import Any

import pytest

from paceline.engines.api import BadRequest, Call, parse
from paceline.engines.canonical import MEDIA_TOKENS

SEED = b"0123456789abcdef"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"name": "weather", "description": "Tells it.", "input_schema": SCHEMA}
OFFERED = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells it.", "parameters": SCHEMA},
}
PICTURE = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}


def messages(*turns: Any, **fields: Any) -> Call:
    body = {"model": "m", "max_tokens": 9, "messages": turns, **fields}
    return parse("/v1/messages", json.dumps(body).encode())


def chat(*turns: Any, **fields: Any) -> Call:
    body = {"model": "m", "messages": turns, **fields}
    return parse("/v1/chat/completions", json.dumps(body).encode())


def says(role: str, *content: Any) -> dict[str, Any]:
    """A turn; a single text stands bare."""
    bare = len(content) == 1 and isinstance(content[0], str)
    return {"role": role, "content": content[0] if bare else list(content)}


def text(said: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": said, **more}


def test_a_message_becomes_a_request() -> None:
    """Everything that the scheduler needs is read from one body."""
    call = messages(says("user", "x" * 4000), stream=True, cache_salt="s")
    assert (call.model, call.streaming, call.max_tokens, call.n) == ("m", True, 9, 1)
    assert call.variant
    request = call.to_request(id="r", arrived_at=1.0, seed=SEED)
    assert len(request.prefix) == 7
    assert 1000 <= request.prompt_tokens <= 1010


def test_tools_and_system_lead() -> None:
    """As in the chat: who sends both shares the engine's cache with himself."""
    asked = says("user", "Where?")
    rules = [text("Be "), text("brief.", cache_control={"type": "ephemeral"})]
    assert (
        messages(asked, system=rules, tools=[TOOL]).prompt
        == messages(asked, system="Be brief.", tools=[TOOL]).prompt
        == chat(says("system", "Be brief."), asked, tools=[OFFERED]).prompt
    )
    bare = {"name": "now", "input_schema": {}}
    named = {"type": "function", "function": {"name": "now", "parameters": {}}}
    assert messages(asked, tools=[bare]).prompt == chat(asked, tools=[named]).prompt
    served = {"type": "web_search_20250305", "name": "web_search"}
    assert messages(asked, tools=[served]).prompt == chat(asked).prompt


def test_a_call_and_its_result() -> None:
    """They become an answer with calls and a message of the tool, what is said around them keeps
    its place."""
    use = {"type": "tool_use", "id": "1", "name": "weather", "input": {"city": "Rome"}}
    result = {"type": "tool_result", "tool_use_id": "1", "content": [text("sunny")]}
    call = {"id": "1", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    answered = {"role": "assistant", "content": "Let me see.", "tool_calls": [call]}
    told = {"role": "tool", "tool_call_id": "1", "content": "sunny"}
    assert (
        messages(
            says("user", "Rome?"),
            says("assistant", text("Let me see."), use),
            says("user", text("Well?"), result, text("Thanks.")),
        ).prompt
        == chat(
            says("user", "Rome?"), answered, says("user", "Well?"), told, says("user", "Thanks.")
        ).prompt
    )
    silent = {"type": "tool_use", "id": "1", "name": "now"}
    called = {"id": "1", "function": {"name": "now", "arguments": "{}"}}
    empty = {"role": "assistant", "content": None, "tool_calls": [called]}
    assert messages(says("user", "a"), says("assistant", silent)).prompt == (
        chat(says("user", "a"), empty).prompt
    )


def test_what_was_thought() -> None:
    """It is the answer's reasoning, forgotten once the user goes on; what is redacted was never
    in a prompt here."""
    thought = {"type": "thinking", "thinking": "hm", "signature": "x"}
    hidden = {"type": "redacted_thinking", "data": "x"}
    turns = [says("user", "a"), says("assistant", hidden, thought, text("b"))]
    reasoned = {"role": "assistant", "content": "b", "reasoning": "hm"}
    assert messages(*turns).prompt == chat(says("user", "a"), reasoned).prompt
    assert (
        messages(*turns, says("user", "c")).prompt
        == chat(says("user", "a"), says("assistant", "b"), says("user", "c")).prompt
    )


def test_pictures_count_as_media() -> None:
    """By their source: where a client sets its cache mark makes no difference."""
    image: dict[str, Any] = {"type": "image", "source": PICTURE}
    seen = [image, image | {"cache_control": {}}]
    one, two = (messages(says("user", text("What?"), image)).prompt for image in seen)
    assert one == two
    assert one.tokens == MEDIA_TOKENS
    result = {"type": "tool_result", "tool_use_id": "1", "content": [seen[0]]}
    assert messages(says("user", result)).prompt.tokens == MEDIA_TOKENS
    other = {"type": "document", "title": "t"}
    assert messages(says("user", other)).prompt.tokens == MEDIA_TOKENS


def test_claude_codes_header_is_left_out() -> None:
    """It has a hash of the request, and would part every prompt from all others."""
    marked = [text("x-anthropic-billing-header: cch=1"), text("Be brief.")]
    asked = says("user", "a")
    assert messages(asked, system=marked).prompt == messages(asked, system="Be brief.").prompt
    assert messages(asked, system=marked[:1]).prompt == messages(asked).prompt


def test_how_much_to_think() -> None:
    """Templates are told, so prompts differ."""
    asked = says("user", "a")
    off = {"type": "disabled"}
    assert messages(asked, thinking=off).prompt == chat(asked, reasoning_effort="none").prompt
    low = {"effort": "low"}
    assert messages(asked, output_config=low).prompt == chat(asked, reasoning_effort="low").prompt
    on = {"type": "enabled", "budget_tokens": 1024}
    assert messages(asked, thinking=on, output_config={}).prompt == chat(asked).prompt


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"messages": []}, "messages: must not be empty"),
        ({"messages": None}, "messages: is required"),
        ({"max_tokens": None}, "max_tokens: is required"),
        ({"max_tokens": "many"}, "max_tokens: must be an integer"),
        ({"messages": [{"role": "user", "content": [{"text": 7}]}]}, "content"),
        ({"tools": [{}]}, "tools"),
    ],
)
def test_what_no_engine_would_serve(fields: dict[str, Any], problem: str) -> None:
    """The refusal names the field."""
    body = {"model": "m", "max_tokens": 9, "messages": [says("user", "a")]} | fields
    with pytest.raises(BadRequest, match=problem):
        parse("/v1/messages", json.dumps(body).encode())
