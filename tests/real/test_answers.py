"""What a client gets through the proxy is what the engine itself would have answered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real import layout
from tests.real.client import Json, Reply, ask, completion
from tests.real.conftest import Engines
from tests.real.engines import MODEL
from tests.real.proxy import serving
from tests.real.tiny_llama import words

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

COMPLETIONS, CHAT, GENERATE = "/v1/completions", "/v1/chat/completions", "/generate"
COLOURS = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "green"]}, "sure": {"type": "boolean"}},
    "required": ["colour", "sure"],
    "additionalProperties": False,
}
LOOK = {"type": "function", "function": {"name": "look", "parameters": COLOURS}}
USAGE = {"stream": True, "stream_options": {"include_usage": True}}
IDS = list(range(300, 340))


def chat(**fields: Any) -> Json:
    """The body of a chat request; greedy and 12 tokens long unless `fields` say otherwise."""
    messages = [{"role": "user", "content": words("chat", 40)}]
    fixed = {"model": MODEL, "temperature": 0, "max_tokens": 12, "ignore_eos": True}
    return {**fixed, "messages": messages, **fields}


def structured(**fields: Any) -> Json:
    """A chat request whose answer ends by itself, when its JSON is complete."""
    return chat(max_tokens=80, ignore_eos=False, **fields)


def generate(**fields: Any) -> Json:
    """The body of a request in SGLang's own API."""
    sampling = {"temperature": 0, "max_new_tokens": 12, "ignore_eos": True}
    return {"sampling_params": sampling, **fields}


BOTH: dict[str, tuple[str, Json]] = {
    "completion": (COMPLETIONS, completion(words("plain", 50), 12)),
    "completion stream": (COMPLETIONS, completion(words("plain", 50), 12, **USAGE)),
    "chat": (CHAT, chat()),
    "chat stream": (CHAT, chat(**USAGE)),
    "chat stream without usage": (CHAT, chat(stream=True)),
    "token ids": (COMPLETIONS, completion(IDS, 12)),
    "two prompts of token ids": (COMPLETIONS, completion([IDS, IDS[::-1]], 12)),
    "log probabilities": (COMPLETIONS, completion(words("plain", 50), 4, logprobs=2)),
    "chat log probabilities": (CHAT, chat(logprobs=True, top_logprobs=2, **USAGE)),
    "tools it may use": (CHAT, chat(tools=[LOOK])),
    "a tool it must use": (CHAT, structured(tools=[LOOK], tool_choice="required")),
    "a tool stream": (CHAT, structured(tools=[LOOK], tool_choice="required", **USAGE)),
    "json schema": (
        CHAT,
        structured(
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "colours", "strict": True, "schema": COLOURS},
            }
        ),
    ),
    "unknown fields": (CHAT, chat(paceline_knows_nothing_of={"this": [1, None]})),
    "a refused field": (CHAT, chat(temperature="hot")),
}
SAMPLED = chat(n=2, seed=7, temperature=1, top_k=50)
"""SGLang ignores the seed unless it is started as deterministic."""
SGLANG: dict[str, tuple[str, Json]] = {
    "two greedy choices": (CHAT, chat(n=2)),
    "generate": (GENERATE, generate(text=words("plain", 50))),
    "generate stream": (GENERATE, generate(text=words("plain", 50), stream=True)),
    "generate from token ids": (GENERATE, generate(input_ids=IDS, stream=True)),
}


def cases() -> Iterator[Any]:
    """Every request, for each engine that understands it."""
    for kind in layout.KINDS:
        own = SGLANG if kind == "sglang" else {"two sampled choices": (CHAT, SAMPLED)}
        for name, (path, body) in {**BOTH, **own}.items():
            yield pytest.param(kind, path, body, id=f"{kind}, {name}")


TRIES, MOST_TRIES = 3, 10
"""An engine that falls behind for a moment puts two tokens into one event of the stream."""

SPOKEN = {"text", "content", "reasoning", "name", "arguments"}
VOLATILE = re.compile(r"(^id|^created|_id|_time|_ts|_wait|latency|throughput)$")


def stable(value: Any) -> Any:
    """Without the ids and times, which differ between two equal requests."""
    if isinstance(value, dict):
        return {key: stable(v) for key, v in value.items() if not VOLATILE.search(key)}
    return [stable(v) for v in value] if isinstance(value, list) else value


def content(reply: Reply) -> tuple[int, str, Any]:
    """What has to be equal."""
    return reply.status, reply.headers["content-type"], stable(reply.events)


def said(value: Any) -> str:
    """All generated text in it, in order."""
    if isinstance(value, dict):
        own = [v for key, v in value.items() if key in SPOKEN and isinstance(v, str)]
        return "".join(own) + "".join(said(v) for v in value.values())
    return "".join(map(said, value)) if isinstance(value, list) else ""


def text(path: str, reply: Reply) -> str:
    """The whole answer's text, however it was cut into events."""
    events = [event for event in reply.events if event != "[DONE]"]
    return said(events[-1:] if path == GENERATE else events)  # there, each event repeats the last


@pytest.mark.parametrize(("kind", "path", "body"), list(cases()))
async def test_equals_the_engines_own(
    kind: layout.Kind, path: str, body: Json, engines: Engines, tmp_path: Path
) -> None:
    """A lone request's answer equals the engine's, event by event, but for ids and times."""
    engine = engines[kind]
    await ask(engine.url, path, body)  # from here on its prompt is cached
    direct = [await ask(engine.url, path, body) for _ in range(TRIES)]
    own = [content(reply) for reply in direct]
    proxied: list[Reply] = []
    async with serving([engine], tmp_path) as proxy:
        while not any(content(reply) in own for reply in proxied):
            assert len(proxied) < MOST_TRIES, (proxied, direct)
            proxied.append(await ask(proxy.url, path, body))
    assert {text(path, reply) for reply in proxied} == {text(path, direct[0])}
    for reply in proxied:
        assert reply.status == direct[0].status
        assert reply.headers["x-paceline-backend"] == kind
        assert float(reply.headers["x-paceline-queue-ms"]) < 1000
