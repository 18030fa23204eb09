"""Bodies in, calls and block keys out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.engines.api import PATHS, BadRequest, Call, parse
from paceline.engines.canonical import MEDIA_TOKENS
from paceline.scheduler.types import Request

CHAT, COMPLETION, GENERATE = "/v1/chat/completions", "/v1/completions", "/generate"
SEED = b"0123456789abcdef"


def chat(*messages: Any, **fields: Any) -> Call:
    return parse(CHAT, json.dumps({"model": "m", "messages": messages, **fields}).encode())


def completion(prompt: Any, **fields: Any) -> Call:
    return parse(COMPLETION, json.dumps({"model": "m", "prompt": prompt, **fields}).encode())


def generate(**fields: Any) -> Call:
    return parse(GENERATE, json.dumps(fields).encode())


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def request(call: Call, **fields: Any) -> Request:
    return call.to_request(id="r", arrived_at=1.0, seed=SEED, **fields)


def keys(call: Call) -> tuple[int, ...]:
    return request(call).prefix


def refusal(path: str, body: bytes) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        parse(path, body)
    return caught.value


def test_a_chat_becomes_a_request() -> None:
    """Everything the scheduler needs is read from one body."""
    call = chat(user("x" * 4000), stream=True, max_tokens=7, n=3, priority=2)
    assert (call.model, call.streaming, call.max_tokens, call.n) == ("m", True, 7, 3)
    assert call.priority == 2
    made = request(call, priority=5, tenant="t", deadline=9.0)
    assert (made.id, made.arrived_at, made.priority, made.tenant) == ("r", 1.0, 5, "t")
    assert made.deadline == 9.0
    assert made.block_tokens == 128.0
    assert 1000 <= made.prompt_tokens <= 1010
    assert len(made.prefix) == 7


def test_the_newer_limit_wins() -> None:
    """`max_completion_tokens` goes before `max_tokens`, as in both engines."""
    assert chat(user("a"), max_completion_tokens=3, max_tokens=9).max_tokens == 3
    assert chat(user("a"), max_completion_tokens=None, max_tokens=9).max_tokens == 9
    assert chat(user("a")).max_tokens is None


def test_defaults_are_the_engines() -> None:
    """Completions stop after 16 tokens, SGLang's own route after 128."""
    assert completion("a").max_tokens == 16
    assert completion("a", max_tokens=None).max_tokens is None
    assert generate(text="a").max_tokens == 128
    assert generate(text="a", sampling_params={"max_new_tokens": None}).max_tokens is None


@pytest.mark.parametrize("value", ["2", 2.0, 2])
def test_numbers_are_read_as_leniently_as_the_engines_do(value: Any) -> None:
    """What pydantic takes for an integer is served, so it is not refused."""
    assert completion("a", n=value).n == 2


@pytest.mark.parametrize(
    ("value", "streaming"),
    [(True, True), ("yes", True), (1, True), (1.0, True), ("FALSE", False), (None, False)],
)
def test_flags_are_read_as_leniently_as_the_engines_do(value: Any, streaming: bool) -> None:
    """What pydantic takes for a truth value is served, so it is not refused."""
    assert completion("a", stream=value).streaming is streaming


def test_huge_numbers_are_capped() -> None:
    """A limit of a googol is served by engines and must not overflow here."""
    assert completion("a", max_tokens=10**100).max_tokens == 2**31 - 1


@pytest.mark.parametrize(
    ("path", "body", "param", "words"),
    [
        (CHAT, b"", None, "not JSON"),
        (CHAT, b'{"messages": [', None, "not JSON"),
        (CHAT, b"[1]", None, "must be a JSON object"),
        (CHAT, b"null", None, "must be a JSON object"),
        (CHAT, b"{}", "messages", "required"),
        (CHAT, b'{"messages": []}', "messages", "must not be empty"),
        (CHAT, b'{"messages": "hi"}', "messages", "Expected array | null, got str"),
        (CHAT, b'{"messages": [{}]}', "messages[0]", "missing required field role"),
        (CHAT, b'{"messages": [{"role": "user", "content": 5}]}', "messages[0].content", "got int"),
        (CHAT, b'{"messages": [{"role": "user"}], "model": 5}', "model", "Expected str"),
        (CHAT, b'{"messages": [{"role": "user", "content": "\\ud800"}]}', None, "not JSON"),
        (CHAT, b'{"messages": [{"role": "user", "content": "\xff"}]}', None, "not UTF-8"),
        (CHAT, b'{"messages": [{"role": "user"}], "tools": 5}', "tools", "Expected array"),
        (CHAT, b'{"x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", None, "nested too deeply"),
        (COMPLETION, b"{}", "prompt", "required"),
        (COMPLETION, b'{"prompt": []}', "prompt", "must not be an empty list"),
        (COMPLETION, b'{"prompt": [[]]}', "prompt", "empty prompts only"),
        (COMPLETION, b'{"prompt": ["", ""]}', "prompt", "empty prompts only"),
        (COMPLETION, b'{"prompt": ["a", 1]}', "prompt", "must not mix"),
        (COMPLETION, b'{"prompt": [[1], "a"]}', "prompt", "must not mix"),
        (COMPLETION, b'{"prompt": [-1]}', "prompt", "out of range"),
        (COMPLETION, b'{"prompt": "a", "n": 0}', "n", "at least 1, got 0"),
        (COMPLETION, b'{"prompt": "a", "n": 1.5}', "n", "must be an integer"),
        (COMPLETION, b'{"prompt": "a", "max_tokens": -1}', "max_tokens", "at least 0, got -1"),
        (COMPLETION, b'{"prompt": "a", "stream": 2}', "stream", "true or false"),
        (COMPLETION, b'{"prompt": "a", "priority": "high"}', "priority", "must be an integer"),
        (GENERATE, b"{}", "text", "one of text, input_ids and input_embeds"),
        (GENERATE, b'{"input_ids": []}', "input_ids", "must not be an empty list"),
        (GENERATE, b'{"text": "a", "sampling_params": 5}', "sampling_params", "got int"),
        (
            GENERATE,
            b'{"text": "a", "sampling_params": {"n": 0}}',
            "sampling_params.n",
            "at least 1",
        ),
    ],
)
def test_a_wrong_body_is_refused(path: str, body: bytes, param: str | None, words: str) -> None:
    """The answer is a 400 that names the field and the problem."""
    error = refusal(path, body)
    assert (error.status, error.param) == (400, param)
    assert words in error.message


@pytest.mark.parametrize(
    "body",
    [
        b'{"prompt": ""}',
        b'{"prompt": ["a", ""]}',
        b'{"prompt": "a", "temperature": NaN}',
        b'\xef\xbb\xbf{"prompt": "a"}',
        b'{"prompt": null, "prompt_embeds": "AAAA"}',
        b'{"prompt": [true, 2]}',
        b'{"prompt": ["1", 2]}',
        b'{"prompt": [1.0, 2]}',
        b'{"prompt": "a", "user": 5, "unknown": {"a": [1]}}',
    ],
)
def test_what_an_engine_may_serve_is_passed_on(body: bytes) -> None:
    """An unusual body is for the engine to judge."""
    assert parse(COMPLETION, body).n >= 1


@pytest.mark.parametrize("content", [None, "", [], [{"type": "text", "text": "a"}], ["a"]])
def test_unusual_content_is_passed_on(content: Any) -> None:
    """Content may be missing, empty, or in parts."""
    assert chat({"role": "assistant", "content": content}).n == 1


def test_white_space_in_objects_does_not_matter() -> None:
    """Two clients that print the same tools differently share a prefix."""
    tool = {"type": "function", "function": {"name": "f", "description": "é" * 600}}
    body = {"model": "m", "messages": [user("x" * 2000)], "tools": [tool]}
    prints = [
        json.dumps(body),
        json.dumps(body, indent=3),
        json.dumps(body, ensure_ascii=False, separators=(",", ":")),
    ]
    assert len({keys(parse(CHAT, text.encode())) for text in prints}) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"tools": [{"type": "function", "function": {"name": "g"}}]},
        {"documents": [{"title": "a", "text": "b"}]},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"reasoning_effort": "high"},
        {"cache_salt": "s"},
        {"extra_key": "s"},
        {"lora_path": "a"},
        {"model": "other"},
        {"messages": [user("y" + "x" * 2000)]},
        {"messages": [{"role": "system", "content": "x" * 2000}]},
        {"messages": [user("x" * 2000) | {"name": "bob"}]},
    ],
)
def test_what_changes_the_prompt_or_its_cache_changes_the_keys(other: dict[str, Any]) -> None:
    """Nothing is shared between prompts whose KV an engine would not share."""
    same = {"model": "m", "messages": [user("x" * 2000)]}
    first, second = (keys(parse(CHAT, json.dumps(body).encode())) for body in (same, same | other))
    assert first
    assert not set(first) & set(second)


def test_fields_of_the_answer_do_not_change_the_keys() -> None:
    """Sampling is not part of the prompt."""
    one = chat(user("x" * 2000), temperature=0.1, response_format={"type": "json_object"})
    assert keys(one) == keys(chat(user("x" * 2000), stream=True, n=2))


def test_a_message_cannot_imitate_another_structure() -> None:
    """Two messages never read like one, whatever is written in them."""
    two = chat({"role": "system", "content": "x" * 1000}, user("y" * 1000))
    one = chat({"role": "system", "content": "x" * 1000 + "\x00user\x00" + "y" * 1000})
    assert two.prompt.data != one.prompt.data


def test_the_parts_of_an_assistant_message_count() -> None:
    """Reasoning, calls and their ids are rendered, so they are in the prompt."""
    plain = {"role": "assistant", "content": "a"}
    said = {"reasoning_content": "b", "tool_calls": [{"id": "1"}], "tool_call_id": "2"}
    texts = {chat(plain | {name: value}).prompt.data for name, value in said.items()}
    assert len(texts | {chat(plain).prompt.data}) == 4


def test_one_text_part_reads_like_the_plain_string() -> None:
    """Templates render both alike."""
    parts = [{"type": "text", "text": "x" * 2000}]
    assert keys(chat(user(parts))) == keys(chat(user("x" * 2000)))


def test_a_picture_counts_flat_and_by_content() -> None:
    """A picture is a guess of tokens, and another picture is another prompt."""

    def look(data: str) -> Call:
        url = {"url": f"data:image/png;base64,{data}"}
        return chat(user([{"type": "image_url", "image_url": url}, {"type": "text", "text": "?"}]))

    assert look("AAAA").prompt.data != look("BBBB").prompt.data
    assert request(look("A" * 1_000_000)).prompt_tokens == pytest.approx(MEDIA_TOKENS, abs=20)


def test_token_ids_are_counted_exactly() -> None:
    """128 ids are a block, and no estimate is needed."""
    made = request(completion(list(range(300))), bytes_per_token=1.0)
    assert (made.prompt_tokens, made.block_tokens, len(made.prefix)) == (300, 128.0, 2)


def test_ids_and_text_never_match() -> None:
    """Equal bytes as text and as ids are different prompts."""
    text = completion("abcd" * 1000)
    ids = completion([int.from_bytes(b"abcd", "little")] * 1000)
    assert text.prompt.data == ids.prompt.data
    assert not set(keys(text)) & set(keys(ids))


@pytest.mark.parametrize("prompts", [["x" * 2000, "y" * 400], [[1] * 500, [2] * 100]])
def test_a_batch_goes_by_its_first_prompt(prompts: list[Any]) -> None:
    """Its tokens are those of all prompts, its choices are asked for each."""
    call = completion(prompts, n=2)
    assert call.n == 4
    assert keys(call) == keys(completion(prompts[0]))
    assert request(call).prompt_tokens == 600


def test_rendered_ids_stand_for_a_chat() -> None:
    """SGLang takes `input_ids` instead of rendering the messages."""
    assert keys(chat(user("a"), input_ids=[1] * 256)) == keys(completion([1] * 256))


def test_generate_takes_text_ids_and_embeddings() -> None:
    """Each form gives its tokens; embeddings share nothing."""
    assert request(generate(text="x" * 4000)).prompt_tokens == 1000
    assert request(generate(input_ids=[[1, 2], [3]])).prompt_tokens == 3
    assert request(generate(input_embeds=[[0.5, 1.0]] * 9)).prompt_tokens == 9
    assert request(generate(input_embeds=[[[0.5], [1.0]], [[2.0]]])).prompt_tokens == 3
    assert keys(generate(input_embeds=[[0.5]] * 4000)) == ()
    assert generate(input_ids=[], session_params={"id": "s"}).prompt.tokens == 0


def test_generate_goes_where_it_is_known() -> None:
    """Its requests wait for an engine that has the path, and the model if one is named."""
    facts = {"id": "r", "arrived_at": 0.0, "seed": b"s"}
    bare = parse("/generate", b'{"text": "x"}')
    named = parse("/generate", b'{"text": "x", "model": "m"}')
    assert bare.to_request(**facts).model == "/generate"  # type: ignore[arg-type]
    assert named.to_request(**facts).model == "/generate m"  # type: ignore[arg-type]


def test_generate_batches_its_sampling() -> None:
    """The longest limit of a batch counts; choices are multiplied by the prompts."""
    params = [{"max_new_tokens": 5, "n": 2}, {"max_new_tokens": 9, "n": 2}]
    call = generate(text=["a", "b"], sampling_params=params)
    assert (call.max_tokens, call.n, call.model) == (9, 4, "")


def test_generate_counts_its_pictures() -> None:
    """Pictures beside the text are in the estimate and in the keys."""
    plain, seen = generate(text="x" * 2000), generate(text="x" * 2000, image_data="AAAA")
    assert request(seen).prompt_tokens == request(plain).prompt_tokens + MEDIA_TOKENS
    assert not set(keys(plain)) & set(keys(seen))


def test_the_ratio_of_bytes_to_tokens_sets_estimates() -> None:
    """A learned ratio changes tokens, never keys."""
    call = completion("x" * 3000)
    dense = request(call, bytes_per_token=2.0)
    assert (dense.prompt_tokens, dense.block_tokens) == (1500, 256.0)
    assert dense.prefix == request(call).prefix


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)
FIELDS = ["model", "messages", "prompt", "text", "input_ids", "input_embeds", "n", "stream"]
FIELDS += ["max_tokens", "priority", "tools", "sampling_params", "cache_salt", "prompt_embeds"]
FIELDS += ["image_data", "session_params", "documents"]
PART = st.fixed_dictionaries({}, optional={"type": values, "text": values, "image_url": values})
MESSAGE = st.fixed_dictionaries(
    {"role": st.text(max_size=6) | values},
    optional={"content": values | st.lists(PART | values, max_size=3), "tool_calls": values},
)
bodies = st.dictionaries(st.sampled_from(FIELDS), values) | st.fixed_dictionaries(
    {"messages": st.lists(MESSAGE, max_size=3)}, optional={"tools": values, "n": values}
)


def outcome(path: str, body: bytes) -> Request | BadRequest:
    try:
        return request(parse(path, body))
    except BadRequest as error:
        return error


@settings(deadline=None)  # a busy machine is no failure
@given(st.sampled_from(sorted(PATHS)), bodies | values)
def test_any_json_is_a_call_or_refused(path: str, body: Any) -> None:
    """Whatever a client sends, no other exception comes out."""
    end = outcome(path, json.dumps(body).encode())
    if isinstance(end, BadRequest):
        assert end.status == 400
        assert end.message
    else:
        assert end.prompt_tokens >= 0
        assert end.n >= 1


@settings(deadline=None)  # a busy machine is no failure
@given(st.sampled_from(sorted(PATHS)), st.binary(max_size=60))
def test_any_bytes_are_a_call_or_refused(path: str, body: bytes) -> None:
    """Not even bytes that are no JSON."""
    for data in (body, b'{"prompt": "' + body + b'"}', b'{"tools": [' + body + b"]}"):
        assert isinstance(outcome(path, data), Request | BadRequest)


contents = st.text(max_size=3).map(lambda text: text * 400)
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": contents}),
    min_size=1,
    max_size=4,
)


@settings(deadline=None)  # a busy machine is no failure
@given(messages, messages)
def test_a_longer_conversation_extends_the_shorter(head: list[Any], tail: list[Any]) -> None:
    """Equal leading messages give equal leading keys, in one chat and between two."""
    short, long = keys(chat(*head)), keys(chat(*head, *tail))
    assert long[: len(short)] == short
    other = keys(chat(*head, user("z" * 2000)))
    assert other[: len(short)] == short


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=400), st.integers(1, 400))
def test_longer_ids_extend_the_shorter(ids: list[int], cut: int) -> None:
    """The keys of a prompt begin with the keys of each of its beginnings."""
    short, long = keys(completion(ids[:cut])), keys(completion(ids))
    assert long[: len(short)] == short
