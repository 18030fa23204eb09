"""What an answer adds to its prompt is what the next turn's messages begin with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from paceline.engines.api import Call, parse

SEED = b"0123456789abcdef"
ASKED = {"role": "user", "content": "q" * 3000}
MORE = {"role": "user", "content": "and?" * 700}
Json = dict[str, Any]

TEXT = {"type": "text", "text": "long " * 600}
THOUGHT = {"type": "thinking", "thinking": "hm " * 600, "signature": "x"}
USE = {"type": "tool_use", "id": "1", "name": "f", "input": {"a": "é" * 900, "b": [1, 2]}}
BARE = {"type": "tool_use", "id": "2", "name": "g", "input": {}}
NOTHING = {"type": "text", "text": ""}
RESULT = {
    "role": "user",
    "content": [{"type": "tool_result", "tool_use_id": "1", "content": "y" * 3000}],
}


def messages(*turns: Json, **more: Any) -> Call:
    body = {"model": "m", "max_tokens": 9, "messages": turns, **more}
    return parse("/v1/messages", json.dumps(body).encode())


def keys(call: Call) -> tuple[int, ...]:
    return call.to_request(id="r", arrived_at=0.0, seed=SEED).prefix


def noted(call: Call, *pieces: bytes) -> tuple[int, ...]:
    """The keys after a reply that came in these pieces."""
    request = call.to_request(id="r", arrived_at=0.0, seed=SEED)
    gathered = call.transcript(request, SEED)
    assert gathered is not None
    for piece in pieces:
        gathered.add(piece)
    return gathered.keys()


def streamed(*blocks: Json) -> Iterator[bytes]:
    """The events of an answer, as vLLM writes them."""
    yield event("message_start", message={"content": [], "usage": {"input_tokens": 1}})
    for index, block in enumerate(blocks):
        (field,) = {"text", "thinking", "input"} & block.keys()
        empty = block | {field: {} if field == "input" else ""}
        yield event("content_block_start", index=index, content_block=empty)
        said = json.dumps(block[field]) if block.get("input") else block[field] or ""
        name = "partial_json" if field == "input" else field
        for start in range(0, len(said), 500):
            delta = {"type": f"{name}_delta", name: said[start : start + 500]}
            yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
    yield event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 1})
    yield event("message_stop")


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("blocks", "then"),
    [([TEXT], MORE), ([THOUGHT, TEXT, USE], RESULT), ([BARE], RESULT), ([NOTHING, USE], RESULT)],
)
def test_the_next_turn_begins_with_the_answer(
    streaming: bool, blocks: list[Json], then: Json
) -> None:
    """Text, reasoning and calls, whole and streamed."""
    whole = json.dumps({"type": "message", "content": blocks}).encode()
    pieces = list(streamed(*blocks)) if streaming else [whole]
    found = noted(messages(ASKED, stream=streaming), *pieces)
    answered = {"role": "assistant", "content": blocks}
    after = keys(messages(ASKED, answered, then))
    assert found == after[: len(found)]
    assert len(found) >= len(keys(messages(ASKED, answered))) > 0


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"no JSON",
        b'{"type":"error","error":{}}',
        b'{"type":"message","content":[]}',
        b'{"type":"message","content":[7]}',
    ],
)
def test_what_is_no_answer_adds_nothing(reply: bytes) -> None:
    """The prompt is noted by itself then."""
    assert noted(messages(ASKED), reply) == ()


def test_a_hidden_thought_is_an_empty_answer() -> None:
    """It was never in a prompt here, and nothing else was said."""
    hidden = {"type": "redacted_thinking", "data": "x"}
    found = noted(messages(ASKED), json.dumps({"type": "message", "content": [hidden]}).encode())
    assert found == keys(messages(ASKED))[: len(found)]
