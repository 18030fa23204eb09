"""Sending families together pays: the engine's own count of cached tokens goes up."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.real.client import ask, completion
from tests.real.engines import POOL_TOKENS, Engine
from tests.real.proxy import idle, serving
from tests.real.tiny_llama import words

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

FAMILIES, MEMBERS, PREFIX, TAIL, OUTPUT = 16, 6, 1500, 50, 8
"""The pool holds a quarter of the families' prefixes."""
MARGIN = 2.0
"""Sent directly, shuffled, a fifth of the tokens is found cached; sorted by family, four fifths."""


async def burst(engine: Engine, url: str, name: str) -> tuple[int, int]:
    """All at once in shuffled order; the prompt tokens that the engine saw, and found cached."""
    members = [(family, member) for family in range(FAMILIES) for member in range(MEMBERS)]
    random.Random(name).shuffle(members)
    prompts = [
        f"{words(f'{name} {f}', PREFIX)} {words(f'{name} {f} {m}', TAIL)}" for f, m in members
    ]
    before = await engine.counters()
    replies = await asyncio.gather(
        *(ask(url, "/v1/completions", completion(prompt, OUTPUT)) for prompt in prompts)
    )
    after = await engine.counters()
    assert {reply.status for reply in replies} == {200}
    return (
        after.prompt_tokens - before.prompt_tokens,
        after.hit_tokens - before.hit_tokens,
    )


async def test_raises_the_engines_hit_rate(engine: Engine, tmp_path: Path) -> None:
    """The same burst finds at least twice the cached tokens when it comes through the proxy."""
    assert POOL_TOKENS < FAMILIES * PREFIX / 3
    asked, direct = await burst(engine, engine.url, "direct")
    async with serving([engine], tmp_path) as proxy:
        asked_again, proxied = await burst(engine, proxy.url, "proxied")
        assert idle(await proxy.state())
    print(f"{engine.kind}: {direct} of {asked} tokens cached directly, {proxied} through the proxy")
    assert asked_again == asked
    assert proxied >= MARGIN * direct
