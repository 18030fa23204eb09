"""Proxies with tight limits, and clients that take their time."""

from __future__ import annotations

import asyncio
import itertools

from paceline.proxy.config import Config, ServerConfig
from tests.proxy.rig import Caller


def limited(**settings: float) -> Config:
    """A proxy with these limits."""
    return Config(server=ServerConfig(**settings))  # type: ignore[arg-type]


async def every(seconds: float, client: Caller, *words: bytes) -> None:
    """Say something at this interval, the one word there is for ever."""
    for word in itertools.cycle(words) if len(words) == 1 else words:
        client.say(word)
        await asyncio.sleep(seconds)
