"""Usage as each API reports it at a reply's end."""

from __future__ import annotations

import gzip
import json

import pytest

from paceline.proxy.serving.usage import plausible, read_usage
from paceline.scheduler.types import Request, Usage

FULL = (
    b'"usage":{"prompt_tokens":12,"total_tokens":20,"completion_tokens":8,'
    b'"prompt_tokens_details":{"cached_tokens":4}}'
)

META = b'"prompt_tokens":5,"completion_tokens":%d,"cached_tokens":3'


def test_json_reply() -> None:
    """vLLM and SGLang put usage behind the choices."""
    body = b'{"id":"c","choices":[{"index":0,"text":"a"},{"index":1,"text":"b"}],' + FULL + b"}"
    assert read_usage(body) == Usage(prompt_tokens=12, output_tokens=8, cached_tokens=4)


@pytest.mark.parametrize(
    "more",
    [
        b"",
        b',"completion_tokens_details":null',
        b',"completion_tokens_details":{"reasoning_tokens":3}',
        b',"cost":1.5,"note":"a } b"',
    ],
)
def test_whatever_else_a_report_tells(more: bytes) -> None:
    """Only three numbers count, whatever stands beside them."""
    body = b'{"choices":[],' + FULL[:-1] + more + b'},"x":{}}'
    assert read_usage(body) == Usage(prompt_tokens=12, output_tokens=8, cached_tokens=4)


def test_stream_with_usage() -> None:
    """With `include_usage` it stands in the event before `[DONE]`; earlier nulls do not count."""
    tail = (
        b'data: {"choices":[],"usage":null}\n\ndata: {"choices":[],'
        + FULL
        + b"}\n\ndata: [DONE]\n\n"
    )
    assert read_usage(tail) == Usage(prompt_tokens=12, output_tokens=8, cached_tokens=4)


def test_stream_without_usage() -> None:
    """Nothing reported, nothing known."""
    tail = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\ndata: [DONE]\n\n'
    assert read_usage(tail) == Usage()


def test_details_may_be_missing_or_null() -> None:
    """vLLM reports cached tokens only when started so."""
    assert (
        read_usage(b'"usage": {"prompt_tokens":1,"prompt_tokens_details":null}').cached_tokens
        is None
    )
    assert read_usage(b'{"usage":{"prompt_tokens":1}}') == Usage(prompt_tokens=1)


@pytest.mark.parametrize(
    ("told", "prompt", "cached"),
    [
        (b'"cache_read_input_tokens":4,"cache_creation_input_tokens":null,', 12, 4),
        (b'"cache_creation_input_tokens":2,"cache_read_input_tokens":4,', 14, 4),
        (b'"cache_read_input_tokens":-4,', None, None),
        (b'"cache_read_input_tokens":null,', 8, None),
        (b"", 8, None),
    ],
)
def test_messages_count_a_prompt_in_parts(
    told: bytes, prompt: int | None, cached: int | None
) -> None:
    """What was read from the cache is not among the input tokens, as Anthropic counts."""
    tail = b'data: {"type":"message_delta","usage":{' + told
    tail += b'"input_tokens":8,"output_tokens":5}}\n\n'
    assert read_usage(tail) == Usage(prompt_tokens=prompt, output_tokens=5, cached_tokens=cached)


def test_generated_text_cannot_report() -> None:
    """Inside a JSON string quotes are escaped."""
    body = rb'{"choices":[{"text":"say \"usage\":{\"prompt_tokens\":1}"}]}'
    assert read_usage(body) == Usage()


def test_generate_reply() -> None:
    """SGLang's own API reports in `meta_info`."""
    body = (
        b'{"text":"a","meta_info":{"id":"r","finish_reason":{"type":"length","length":2},'
        + META % 2
        + b"}}"
    )
    assert read_usage(body) == Usage(prompt_tokens=5, output_tokens=2, cached_tokens=3)


def test_generate_stream_is_cumulative() -> None:
    """The last event counts, not their sum."""
    event = b'data: {"text":"a","meta_info":{' + META + b"}}\n\n"
    tail = event % 1 + event % 2 + b"data: [DONE]\n\n"
    assert read_usage(tail) == Usage(prompt_tokens=5, output_tokens=2, cached_tokens=3)


def test_generate_with_several_choices() -> None:
    """Each choice reports for itself, so the output in all is not known from the end alone."""
    one = b'{"text":"a","index":%d,"meta_info":{' + META % 2 + b"}}"
    body = b"[" + one % 0 + b"," + one % 1 + b"]"
    stream = b"data: " + one % 0 + b"\n\ndata: " + one % 1 + b"\n\n"
    expected = Usage(prompt_tokens=5, output_tokens=None, cached_tokens=3)
    assert read_usage(body) == read_usage(stream) == expected


def test_embeddings_have_no_output() -> None:
    """Their usage counts the prompt alone."""
    assert (
        read_usage(b'{"data":[],"usage":{"prompt_tokens":3,"total_tokens":3}}').output_tokens
        is None
    )


def test_what_cannot_be_read_is_not_guessed() -> None:
    """Compressed, cut off or nonsensical reports are none."""
    assert read_usage(gzip.compress(b"{" + FULL + b"}")) == Usage()
    assert read_usage(FULL[:-20]) == Usage()
    assert read_usage(b'{"usage":{"prompt_tokens":-1,"completion_tokens":true}}') == Usage()
    assert read_usage(b"") == Usage()


@pytest.mark.parametrize("count", [-1, 10**9, True, 1.5, "7", None])
def test_an_impossible_count_is_none(count: object) -> None:
    """No prompt is as long as that; it would empty every estimate that rests on it."""
    report = json.dumps({"usage": {"prompt_tokens": count, "completion_tokens": 3}}).encode()
    assert read_usage(report) == Usage(output_tokens=3)


@pytest.mark.parametrize(
    ("limit", "told", "believed"), [(5, 90, 10), (5, 9, 9), (None, 90, 90), (5, None, None)]
)
def test_an_answer_keeps_to_its_limit(
    limit: int | None, told: int | None, believed: int | None
) -> None:
    """Whatever the engine says it made, for each of its choices."""
    request = Request(id="r", arrived_at=0.0, max_tokens=limit, n=2)
    assert plausible(Usage(output_tokens=told), request).output_tokens == believed
