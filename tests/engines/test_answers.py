"""What an answer makes of its prompt is what the next turn's prompt begins with."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from paceline.engines import answers
from paceline.engines.answers import Transcript
from paceline.engines.api import Call, parse
from paceline.scheduler.blocks import BLOCK_BYTES, BLOCK_IDS

CHAT, COMPLETION, GENERATE = "/v1/chat/completions", "/v1/completions", "/generate"
SEED = b"0123456789abcdef"
LONG = "x" * 3000
QUESTION = {"role": "user", "content": "q" * 2000}
CALLS: list[dict[str, Any]] = [
    {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": "é"}'}},
    {"id": "call_2", "type": "function", "function": {"name": "g", "arguments": "not JSON"}},
]
Json = dict[str, Any]


def called(path: str, **body: Any) -> Call:
    return parse(path, json.dumps(body).encode())


def prefix(call: Call) -> tuple[int, ...]:
    return call.to_request(id="r", arrived_at=0.0, seed=SEED).prefix


def transcript(call: Call) -> Transcript | None:
    return call.transcript(call.to_request(id="r", arrived_at=0.0, seed=SEED), SEED)


def noted(call: Call, *pieces: bytes) -> tuple[int, ...]:
    """The keys after a reply that came in these pieces."""
    gathered = transcript(call)
    assert gathered is not None
    for piece in pieces:
        gathered.add(piece)
    return gathered.keys()


def chat(*messages: Json, **more: Any) -> Call:
    return called(
        CHAT, model="m", messages=[{"role": "system", "content": LONG}, *messages], **more
    )


def whole(message: Json) -> bytes:
    """A chat's reply in one piece, as vLLM writes it."""
    null = {"refusal": None, "annotations": None, "audio": None, "function_call": None}
    choice = {"index": 0, "message": {"role": "assistant"} | null | message}
    return json.dumps({"object": "chat.completion", "choices": [choice], "usage": {}}).encode()


def event(delta: Json) -> bytes:
    body = {"choices": [{"index": 0, "delta": delta, "logprobs": None}]}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


DONE = b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\ndata: [DONE]\n\n'


def shared(next_turn: Call, keys: tuple[int, ...]) -> int:
    """How many of the keys the next turn's prompt begins with."""
    theirs = prefix(next_turn)
    return next((i for i, key in enumerate(keys) if theirs[i : i + 1] != (key,)), len(keys))


@pytest.mark.parametrize(
    "message",
    [
        {"content": "a" * 2000},
        {"content": "é" * 900 + '"quoted" \\ \n' * 60, "tool_calls": []},
        {"content": None, "tool_calls": [CALLS[0] | {"id": "i" * 900}]},
        {"content": "a" * 900, "tool_calls": CALLS},
    ],
)
def test_the_next_turn_begins_with_prompt_and_answer(message: Json) -> None:
    """Quoted as clients do, whole and streamed; its own question is all that is new."""
    turn = chat(QUESTION)
    keys = noted(turn, whole(message))
    assert len(keys) > len(prefix(turn))
    quoted = {"role": "assistant", **message}
    following = chat(QUESTION, quoted, {"role": "user", "content": "z" * 2000})
    assert shared(following, keys) == len(keys)
    other = chat(QUESTION, quoted | {"content": "b"}, {"role": "user", "content": "z" * 2000})
    assert shared(other, keys) < len(keys)


def test_a_stream_says_the_same_as_a_whole_answer() -> None:
    """However its events are cut; the calls' arguments come in pieces."""
    message = {"content": "a" * 900, "tool_calls": CALLS}
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": "a" * 300}] * 3
    for index, call in enumerate(CALLS):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        head = {"index": index, "id": call["id"], "type": "function"}
        deltas.append({"tool_calls": [head | {"function": {"name": name, "arguments": ""}}]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": part}}]}
            for part in (arguments[:3], arguments[3:])
        ]
    payload = b": a comment\n\n" + b"".join(map(event, deltas)) + DONE
    turn = chat(QUESTION, stream=True)
    expected = noted(chat(QUESTION), whole(message))
    assert noted(turn, payload) == expected
    assert noted(turn, payload.replace(b"\n\n", b"\r\n\r\n")) == expected
    pieces = [payload[at : at + 7] for at in range(0, len(payload), 7)]
    assert noted(turn, *pieces) == expected


@pytest.mark.parametrize("more", [{}, {"reasoning_content": None, "tool_calls": None}])
def test_plain_text_is_gathered_as_engines_write_it(more: Json) -> None:
    """Without spaces, one event a chunk; what only looks like an event within a text is text."""
    said = ["say ", "data: ", "\n\ndata: {}", " twice"] * 60
    chunks = [{"choices": [{"index": 0, "delta": {"content": text} | more}]} for text in said]
    events = [b"data: %b\n\n" % json.dumps(one, separators=(",", ":")).encode() for one in chunks]
    keys = noted(chat(QUESTION, stream=True), *events, b"data: [DONE]\n\n")
    assert keys == noted(chat(QUESTION), whole({"content": "".join(said)}))
    assert len(keys) > len(prefix(chat(QUESTION)))


@pytest.mark.parametrize("arguments", ['{"a":"é"}', '{ "a": "\\u00e9" }', {"a": "é"}])
def test_calls_are_compared_by_what_they_say(arguments: Any) -> None:
    """Clients write a call down anew: other spaces, another order, without its index."""
    message = {"content": None, "tool_calls": [CALLS[0], {"index": 1, **CALLS[1]}]}
    keys = noted(chat(QUESTION), whole(message | {"content": "a" * 1000}))
    calls = [{"function": {"arguments": arguments, "name": "f"}, "id": "call_1"}, CALLS[1]]
    quoted = {"role": "assistant", "content": "a" * 1000, "tool_calls": calls}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "r" * 900}
    assert shared(chat(QUESTION, quoted, result), keys) == len(keys)


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_counts_until_the_next_question(field: str) -> None:
    """Templates print it while tools are called, and leave it out once the user says more."""
    turn = chat(QUESTION)
    message = {"content": "a" * 2000, field: "t" * 2000}
    keys = noted(turn, whole(message))
    streamed = [{field: "t" * 1000}] * 2 + [{"content": "a" * 2000}]
    assert noted(chat(QUESTION, stream=True), *map(event, streamed), DONE) == keys
    quoted = {"role": "assistant", "content": "a" * 2000, "reasoning": "t" * 2000}
    result = {"role": "tool", "content": "r" * 900}
    assert shared(chat(QUESTION, quoted, result), keys) == len(keys)
    assert shared(chat(QUESTION, {**quoted, "reasoning": None}, result), keys) == len(prefix(turn))
    assert shared(chat(QUESTION, quoted, QUESTION), keys) == len(prefix(turn))


def test_reasoning_inside_the_content_counts_as_long() -> None:
    """Where no parser takes it out of the answer, the template does it with its closing tag."""
    turn = chat(QUESTION)
    thought = "<think>" + "t" * 2000 + "</think>"
    keys = noted(turn, whole({"content": thought + "a" * 2000}))
    quoted = {"role": "assistant", "content": thought + "a" * 2000}
    assert shared(chat(QUESTION, quoted, QUESTION), keys) == len(prefix(turn))
    bare = {"role": "assistant", "content": "a" * 2000}
    assert prefix(chat(QUESTION, quoted, QUESTION)) == prefix(chat(QUESTION, bare, QUESTION))


def test_a_completion_goes_on_with_its_text() -> None:
    """The next prompt is the old one, the answer and more."""
    turn = called(COMPLETION, model="m", prompt=LONG)
    keys = noted(turn, json.dumps({"choices": [{"index": 0, "text": "a" * 2000}]}).encode())
    assert prefix(called(COMPLETION, model="m", prompt=LONG + "a" * 2000 + "z")) == keys
    streamed = called(COMPLETION, model="m", prompt=LONG, stream=True)
    chunk = b"data: " + json.dumps({"choices": [{"text": "a" * 500}]}).encode() + b"\n\n"
    assert noted(streamed, *[chunk] * 4, b"data: [DONE]\n\n") == keys


def generated(count: int) -> Json:
    ids = list(range(count))
    return {"text": "a" * count, "output_ids": ids, "meta_info": {"completion_tokens": count}}


def test_generate_repeats_its_answer() -> None:
    """Its last event has everything; token ids go on with token ids."""
    events = [b"data: " + json.dumps(generated(n)).encode() + b"\n\n" for n in (9, 900)]
    text = called(GENERATE, text=LONG, stream=True)
    keys = noted(text, *events, b"data: [DONE]\n\n")
    assert keys == prefix(called(GENERATE, text=LONG + "a" * 900))
    ids = called(GENERATE, input_ids=[7] * 500)
    assert noted(ids, json.dumps(generated(900)).encode()) == prefix(
        called(GENERATE, input_ids=[7] * 500 + list(range(900)))
    )


def test_a_part_of_an_answer_is_not_taken_for_all() -> None:
    """SGLang can be told to send pieces: then the last one is no answer."""
    piece = generated(9) | {"meta_info": {"completion_tokens": 900}}
    assert noted(called(GENERATE, text=LONG), json.dumps(piece).encode()) == ()


@pytest.mark.parametrize(
    "call",
    [
        chat(QUESTION, n=2),
        chat(QUESTION, continue_final_message=True),
        chat(QUESTION, input_ids=[1, 2]),
        called(COMPLETION, prompt=[1, 2, 3]),
        called(COMPLETION, prompt="a", echo=True),
        called(COMPLETION, prompt=["a", "b"]),
        called(GENERATE, text=["a", "b"]),
    ],
)
def test_what_no_prompt_will_quote_is_not_gathered(call: Call) -> None:
    """Several choices, ids whose answer is text, a message that goes on."""
    assert transcript(call) is None


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"choices": 5}', b"\xff", b'"\xff"'])
def test_a_malformed_reply_notes_nothing(payload: bytes) -> None:
    """It is passed on as it is, and nobody is the wiser."""
    assert noted(chat(QUESTION), payload) == ()
    assert noted(called(GENERATE, text=LONG), payload) == ()
    assert noted(chat(QUESTION, stream=True), b"data: " + payload + b"x\n\n") == ()


def test_long_answers_are_read_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream is kept in small part only; past the limit nothing of it is."""
    monkeypatch.setattr(answers, "BATCH", 2000)
    turn = chat(QUESTION, stream=True)
    events = [event({"content": "a" * 300})] * 30
    expected = noted(chat(QUESTION), whole({"content": "a" * 9000}))
    assert noted(turn, *events, DONE) == expected
    monkeypatch.setattr(answers, "MOST", 2000)
    assert noted(turn, *events * 20, DONE) == ()
    assert noted(chat(QUESTION), whole({"content": "a" * 9000}), b"") == ()
    assert noted(turn, b"data: {]\n\n" * 300, DONE) == ()


@settings(deadline=None)  # a busy machine is no failure
@given(st.integers(0, 3000), st.integers(0, 3000), st.booleans())
def test_keys_go_on_wherever_the_prompt_ends(head: int, tail: int, ids: bool) -> None:
    """A prompt and what follows have the keys of both in one."""
    base = BLOCK_IDS * 4 if ids else BLOCK_BYTES
    turn, both = (
        called(GENERATE, **({"input_ids": [5] * n} if ids else {"text": "x" * 9 * n}))
        for n in (head + 1, head + 1 + tail)
    )
    more = both.prompt.data[len(turn.prompt.data) :]
    root = xxh3_64_intdigest(turn.root(SEED))
    begun = answers.opening(root, prefix(turn), turn.prompt.data, base)
    assert begun.extended(more) == prefix(both)
