"""Whoever sends us bytes gets a proper refusal or a proper answer, never an exception."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, body, chunks, config, keys, reply, trace, usage

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner)
)


def objects(*keys: str) -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects in which these keys are likely."""
    return st.dictionaries(st.sampled_from(keys) | st.text(max_size=8), anything, max_size=6)


message = st.fixed_dictionaries({"role": st.text(max_size=8), "content": anything})
chat = st.fixed_dictionaries(
    {"messages": st.lists(message | anything, max_size=4)},
    optional=dict.fromkeys(
        ("model", "n", "stream", "max_tokens", "tools", "cache_salt", "extra_key"), anything
    ),
)
completion = st.fixed_dictionaries(
    {"prompt": anything | st.lists(st.integers(-5, 2**33), max_size=5)},
    optional={"n": anything, "max_tokens": anything, "model": anything, "cache_salt": anything},
)
generate = st.fixed_dictionaries(
    {},
    optional={
        "text": anything,
        "input_ids": anything | st.lists(st.integers(), max_size=5),
        "input_embeds": anything,
        "sampling_params": anything | objects("n", "max_new_tokens"),
    },
)


def encoded(value: object) -> bytes:
    """As JSON, with NaN and lone surrogates where there are any."""
    return json.dumps(value, ensure_ascii=True).encode()


@given((chat | completion | generate).map(encoded))
@example(b'{"messages":[{"role":"u","content":"a"}],"cache_salt":"x","cache_salt":"y"}')
@example(b'\xef\xbb\xbf{"prompt":"a","n":NaN}')
def test_bodies(data: bytes) -> None:
    """Whatever fields a body has, of whatever types."""
    body(data)


sections = objects("host", "port", "name", "format", "settings", "max_waiting", "backend_hosts")
tables = st.dictionaries(
    st.sampled_from(("server", "tls", "auth", "admin", "scheduler", "policy", "log", "backends")),
    sections | st.lists(objects("url", "name", "kind", "models"), max_size=3) | scalars,
    max_size=4,
)


@given(tables.map(lambda table: toml(table).encode()))
@settings(max_examples=60)
def test_configurations(data: bytes) -> None:
    """Whatever sections and keys a file has, of whatever types."""
    config(data)


def toml(value: object, key: str = "") -> str:
    """A table as TOML, as inline tables below the first level; null is left out."""
    if isinstance(value, dict) and not key:
        return "".join(f"{json.dumps(k)} = {toml(v, 'x')}\n" for k, v in value.items())
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v, 'x')}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(item, "x") for item in value) + "]"
    return {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf", "null": '""'}.get(
        text := json.dumps(value), text
    )


rows = st.lists(
    objects(
        *("hash_ids", "input_length", "output_length", "timestamp", "delay", "session_id"),
        *("event", "time", "body", "path", "arrived_at"),
    )
    | st.fixed_dictionaries(
        {
            "hash_ids": st.lists(st.integers(0, 9), max_size=4),
            "input_length": st.integers(-1, 100),
            "output_length": st.integers(0, 3),
            "timestamp": st.floats(),
        }
    ),
    max_size=4,
)


@given(rows.map(lambda lines: b"\n".join(map(encoded, lines))))
@example(b'{"tim\x94": 0, "hash_ids": [1, 2]}')
@example(b"[" * 100_000)
@example(b'{"time": 0, "event": {"type": "Fi\\nished", "id": "a"}}')
@example(b"TIMESTAMP,ContextTokens,GeneratedTokens\n2024-11-10,411111111111111111,10\n")
@settings(max_examples=100)
def test_traces(data: bytes) -> None:
    """Whatever a row says."""
    trace(data)


heads = st.lists(
    st.sampled_from(
        (
            *("HTTP/1.1 200 OK", "HTTP/1.1 204 No", "HTTP/1.0 500", "Content-Length: 5"),
            *("Content-Length: -1", "Transfer-Encoding: chunked", "Connection: close", "X: y", ""),
        )
    ),
    max_size=6,
).map(lambda lines: "\r\n".join([*lines, "", ""]).encode())


@given(heads, st.binary(max_size=40))
def test_replies(head: bytes, rest: bytes) -> None:
    """Whatever an engine answers."""
    reply(head + rest)


pieces = st.sampled_from((b"5", b"a;x", b"0", b"\r\n", b"\n", b"hello", b"X: y", b";", b"ffff"))


@given(st.lists(pieces, max_size=12).map(b"".join) | st.binary(max_size=40))
def test_chunks(data: bytes) -> None:
    """However a chunked body is cut, it says the same."""
    chunks(data)


@given(anything.map(encoded) | objects("usage", "choices", "meta_info").map(encoded))
def test_usage(data: bytes) -> None:
    """Whatever stands at the end of an answer."""
    usage(b"data: " + data + b"\n\ndata: [DONE]\n\n")
    usage(data)


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.binary(max_size=60))
@settings(max_examples=30)
def test_any_bytes(name: str, data: bytes) -> None:
    """What is not even text."""
    TARGETS[name](data)


@given(st.text(max_size=80))
def test_keys(text: str) -> None:
    """Whatever a file of keys says."""
    keys(text.encode("utf-8", "replace"))
