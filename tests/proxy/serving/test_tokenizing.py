"""Prompts of models with a tokenizer are counted, not estimated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from paceline.engines.api import Call, parse
from paceline.engines.tokens import TokenizerError
from paceline.proxy.config import ModelConfig
from paceline.proxy.serving.tokenizing import Tokenizers, tokenizers
from paceline.scheduler.types import Request
from tests.real.tiny_llama import words, write_tokenizer

CHAT, COMPLETION, GENERATE = "/v1/chat/completions", "/v1/completions", "/generate"
SEED = b"0123456789abcdef"


@pytest.fixture
def models(tmp_path: Path) -> Tokenizers:
    return tokenizers([ModelConfig(name="m", tokenizer=str(write_tokenizer(tmp_path)))])


async def tokenized(models: Tokenizers, path: str, **body: Any) -> Call:
    raw = json.dumps({"model": "m"} | body).encode()
    return await models.tokenized(parse(path, raw), path, raw)


def request(call: Call) -> Request:
    return call.to_request(id="r", arrived_at=0.0, seed=SEED)


async def chat(models: Tokenizers, *messages: tuple[str, str], **more: Any) -> Call:
    said = [{"role": role, "content": text} for role, text in messages]
    return await tokenized(models, CHAT, messages=said, **more)


@pytest.mark.parametrize("count", [100, 1000])
async def test_tokens_are_counted(models: Tokenizers, count: int) -> None:
    """At once or in a thread, in blocks of the configured size."""
    asked = request(await tokenized(models, COMPLETION, prompt=words("a", count)))
    assert (asked.prompt_tokens, asked.block_tokens, asked.exact) == (count, 16.0, True)
    assert len(asked.prefix) == {100: 6, 1000: 47}[count]


async def test_ids_and_text_share_their_blocks(models: Tokenizers) -> None:
    """A client may tokenize by itself."""
    text = await tokenized(models, COMPLETION, prompt=words("a", 200))
    ids = memoryview(text.prompt.data).cast("I").tolist()
    same = await tokenized(models, COMPLETION, prompt=ids)
    assert request(same).prefix == request(text).prefix
    assert request(same).exact


async def test_what_has_no_ids_stays_text(models: Tokenizers) -> None:
    """Other models, batches, and what engines do not render alike."""
    said = [{"role": "user", "content": "a"}]
    message = await tokenized(models, "/v1/messages", messages=said, max_tokens=1)
    assert not request(message).exact
    assert not request(await tokenized(models, COMPLETION, model="x", prompt="a")).exact
    assert not request(await tokenized(models, COMPLETION, prompt=["a", "b"])).exact
    assert not request(await chat(models, ("user", "a"), tools=[{}])).exact
    salted = await chat(models, ("user", "a"), cache_salt="s")
    assert salted.prompt.is_ids
    assert not request(salted).exact


async def test_the_next_turn_begins_with_prompt_and_answer(models: Tokenizers) -> None:
    """The answer's text makes the ids that the next prompt has there."""
    question, answer, more = (words(seed, 150) for seed in "qam")
    turn = await chat(models, ("user", question))
    transcript = turn.transcript(request(turn), SEED)
    assert transcript is not None
    choice = {"message": {"role": "assistant", "content": answer, "tool_calls": []}}
    reply = json.dumps({"choices": [choice]}).encode()
    transcript.add(reply)
    following = await chat(models, ("user", question), ("assistant", answer), ("user", more))
    keys = transcript.keys()
    assert len(keys) > len(request(turn).prefix)
    assert request(following).prefix[: len(keys)] == keys


@pytest.mark.parametrize(
    "message",
    [
        {"content": "a", "reasoning": "b"},
        {"content": None, "tool_calls": [{"id": "1", "function": {"name": "f"}}]},
    ],
)
async def test_an_answer_that_was_taken_apart_has_no_ids(models: Tokenizers, message: Any) -> None:
    """What the parser took out of the text was in it somewhere."""
    turn = await chat(models, ("user", "q"))
    streamed = await chat(models, ("user", "q"), stream=True)
    whole = json.dumps({"choices": [{"message": {"role": "assistant"} | message}]}).encode()
    event = b"data: " + json.dumps({"choices": [{"delta": message}]}).encode() + b"\n\n"
    for call, payload in ((turn, whole), (streamed, event), (streamed, b"")):
        transcript = call.transcript(request(call), SEED)
        assert transcript is not None
        transcript.add(payload)
        assert transcript.keys() == ()


async def test_a_stream_and_generate_tell_their_ids(models: Tokenizers) -> None:
    """A stream by its text, SGLang's own route by itself."""
    text = words("a", 40)
    streamed = await chat(models, ("user", "q"), stream=True)
    event = b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"
    transcript = streamed.transcript(request(streamed), SEED)
    assert transcript is not None
    transcript.add(event)
    assert len(transcript.keys()) == (streamed.prompt.tokens + 40) // 16
    own = parse(GENERATE, json.dumps({"text": text}).encode())
    own = own.tokenized(models.get("m").tokens.encode(text, special=True), 16, lambda _: b"")  # type: ignore[union-attr]
    transcript = own.transcript(request(own), SEED)
    assert transcript is not None
    reply = {"text": "x", "output_ids": [7] * 24, "meta_info": {"completion_tokens": 24}}
    payload = json.dumps(reply).encode()
    transcript.add(payload)
    assert len(transcript.keys()) == 4


def test_a_tokenizer_that_is_not_there(tmp_path: Path) -> None:
    """The configuration is refused."""
    with pytest.raises(TokenizerError):
        tokenizers([ModelConfig(name="m", tokenizer=str(tmp_path / "nothing"))])
