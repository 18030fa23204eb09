"""A whole proxy with a tokenizer and KV events predicts what the engine says it has."""

from __future__ import annotations

import asyncio
from pathlib import Path

from msgspec import structs

from paceline.engines.kv_events import BlockRemoved, BlockStored
from paceline.engines.tokens import ModelTokens
from paceline.proxy.config import Config, ModelConfig
from tests.proxy.publisher import Publisher
from tests.proxy.scripted import Conversation, engine, reply
from tests.proxy.whole import MODELS, Whole, backend, whole
from tests.real.tiny_llama import words, write_tokenizer

PROMPT = words("exact", 100)


async def script(conversation: Conversation) -> None:
    """An engine with one short answer."""
    while True:
        head, _ = await conversation.request()
        await conversation.say(reply(b'{"choices":[]}') if head.startswith("POST") else MODELS)


async def predicted(proxy: Whole, tokens: int) -> None:
    """Return when so many tokens of the prompt are said to be cached."""
    body = {"model": "m", "prompt": PROMPT, "max_tokens": 1}
    while True:
        answer = await proxy.ask("POST", "/v1/completions", body)
        if answer.headers("x-paceline-cached-tokens") == [str(tokens)]:
            return
        await asyncio.sleep(0)


async def test_events_decide_what_is_predicted(tmp_path: Path) -> None:
    """What was asked for before does not count, what is stored does, what is removed no longer."""
    publisher = Publisher()
    folder = write_tokenizer(tmp_path)
    ids = memoryview(ModelTokens(folder).encode(PROMPT, special=True)).cast("I").tolist()
    async with engine(script) as scripted:
        config = Config(
            backends=[structs.replace(backend(scripted.port), **publisher.urls)],
            models=[ModelConfig(name="m", tokenizer=str(folder))],
        )
        async with whole(config) as proxy:
            await publisher.subscribed()
            hashes = [1, 2, 3, 4, 5, 6]
            await publisher.publish(BlockStored(hashes, token_ids=ids[:96], block_size=16))  # type: ignore[arg-type]
            await predicted(proxy, 96)
            page = (await proxy.ask("GET", "/metrics")).body.decode()
            assert 'paceline_backend_kv_exact{backend="e0"} 1.0' in page
            await publisher.publish(BlockRemoved([6, 5, 4]))
            await predicted(proxy, 48)
            await publisher.close()
            await predicted(proxy, 0)
            await predicted(proxy, 96)
    await publisher.close()
