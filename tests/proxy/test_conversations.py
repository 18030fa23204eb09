"""Multi-turn chats over HTTP keep their backend, and what is predicted is what is found cached."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

import aiohttp
import msgspec
import pytest

from paceline.engines.emulator.app import start_emulator
from paceline.engines.emulator.config import EmulatorConfig
from paceline.engines.model.engine import ModelKind
from paceline.proxy.config import BackendConfig, Config, LogConfig
from tests.proxy.whole import whole

CHATS, TURNS, ANSWER = 6, 4, 300
"""Answers are longer than questions: without them the match would be short by half."""
SPEED = 100.0
"""So that a decode step takes less than the proxy does."""


@pytest.fixture
async def base() -> AsyncIterator[str]:
    """A proxy before an emulated vLLM and an emulated SGLang that are fast."""
    async with AsyncExitStack() as stack:
        backends = []
        kinds: tuple[ModelKind, ...] = ("vllm", "sglang")
        for kind in kinds:
            emulated = EmulatorConfig(kind=kind, speed=SPEED)
            emulator = await start_emulator(emulated, "127.0.0.1", 0)
            stack.push_async_callback(emulator.close)
            backends.append(BackendConfig(url=emulator.url, name=kind))
        config = Config(backends=backends, log=LogConfig(level="error"))
        made = await stack.enter_async_context(whole(config))
        yield f"http://127.0.0.1:{made.port}"


class Turn(msgspec.Struct):
    """What became of one turn."""

    backend: str
    predicted: int
    reported: int
    prompt: int
    answer: str


async def ask(client: aiohttp.ClientSession, messages: list[Any], *, stream: bool) -> Turn:
    """One turn, streamed or whole."""
    body: dict[str, Any] = {"model": "emulated", "messages": messages, "max_tokens": ANSWER}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    async with client.post("/v1/chat/completions", json=body) as reply:
        raw = await reply.text()
    if stream:
        chunks = [json.loads(line[6:]) for line in raw.split("\n\n") if line.startswith("data: {")]
        answer = "".join(c["choices"][0]["delta"]["content"] for c in chunks if c["choices"])
        usage = chunks[-1]["usage"]
    else:
        whole = json.loads(raw)
        answer, usage = whole["choices"][0]["message"]["content"], whole["usage"]
    return Turn(
        backend=reply.headers["x-paceline-backend"],
        predicted=int(reply.headers["x-paceline-cached-tokens"]),
        reported=usage["prompt_tokens_details"]["cached_tokens"],
        prompt=usage["prompt_tokens"],
        answer=answer,
    )


async def chat(client: aiohttp.ClientSession, number: int) -> list[Turn]:
    """A conversation; every second one is streamed."""
    messages: list[Any] = []
    turns = []
    for turn in range(TURNS):
        question = f"In chat {number}, question {turn}: " + f"{number} and {turn}, " * 60
        messages.append({"role": "user", "content": question})
        turns.append(await ask(client, messages, stream=number % 2 == 0))
        messages.append({"role": "assistant", "content": turns[-1].answer})
    return turns


async def test_chats_keep_their_backend_and_their_match(base: str) -> None:
    """Two engines, two chats at a time: each turn finds all that came before, answers too."""
    chats: list[list[Turn]] = []
    async with aiohttp.ClientSession(base) as client:
        for number in range(0, CHATS, 2):
            chats += await asyncio.gather(chat(client, number), chat(client, number + 1))
    assert {turns[0].backend for turns in chats} == {"vllm", "sglang"}
    for turns in chats:
        assert len({turn.backend for turn in turns}) == 1
        for before, turn in pairwise(turns):
            assert turn.reported >= before.prompt + ANSWER - 32
            assert turn.reported * 0.8 - 128 <= turn.predicted <= turn.reported * 1.1
    later = [turn for turns in chats for turn in turns[1:]]
    predicted, reported = (sum(getattr(t, f) for t in later) for f in ("predicted", "reported"))
    print(f"{predicted} of {reported} tokens predicted")
    assert predicted == pytest.approx(reported, rel=0.1)
