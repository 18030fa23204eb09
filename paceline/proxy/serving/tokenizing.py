"""Turns prompts into token ids, for the models whose tokenizer is configured."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import msgspec
from msgspec import Struct

from paceline.engines.api import Call
from paceline.engines.tokens import ModelTokens
from paceline.proxy.config import ModelConfig

INLINE = 1024
"""Characters that are tokenized at once; a longer text goes to a thread, which costs 0.1 ms and
leaves the loop to others for the 0.25 ms that a kB takes."""

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"


class Model(Struct, frozen=True):
    """A model and its blocks."""

    tokens: ModelTokens
    block: int
    """Tokens in a base block."""


class Tokenizers:
    """The tokenizers by model."""

    def __init__(self, models: dict[str, Model]) -> None:
        self.models = models

    def get(self, model: str) -> Model | None:
        """The model of this name, if it has a tokenizer."""
        return self.models.get(model)

    async def tokenized(self, call: Call, path: str, body: bytes) -> Call:
        """The call with its prompt as ids, or as it was where these cannot be told."""
        model = self.models.get(call.model)
        prompt = call.prompt
        if model is None or prompt.count > 1 or (prompt.tokens and not prompt.is_ids):
            return call
        encode = partial(model.tokens.encode, special=False)
        if prompt.is_ids:
            return call.tokenized(b"", model.block, encode)
        if path == MESSAGES:  # engines render what is made of it, each in its way
            return call
        if path == CHAT:
            text, special = model.tokens.chat(msgspec.json.decode(body)), False
        else:
            text, special = prompt.data.decode(), True
        if text is None:
            return call
        work = partial(model.tokens.encode, text, special=special)
        ids = work() if len(text) <= INLINE else await asyncio.to_thread(work)
        return call.tokenized(ids, model.block, encode)


def tokenizers(configs: Sequence[ModelConfig]) -> Tokenizers:
    """Read them all; raises TokenizerError."""
    return Tokenizers({one.name: Model(_read(one.tokenizer), one.block_tokens) for one in configs})


@lru_cache(maxsize=32)
def _read(path: str) -> ModelTokens:
    """Once a path: the configuration is read to be checked, and again to be used."""
    return ModelTokens(Path(path))
