"""What the engines' own clients ask before they begin, in front of one engine of each kind."""

from __future__ import annotations

import aiohttp
import pytest


@pytest.mark.parametrize(
    ("path", "engine"),
    [
        ("/get_model_info", "emulated-sglang"),
        ("/server_info", "emulated-sglang"),
        ("/version", "emulated-vllm"),
    ],
)
async def test_the_engine_that_knows_answers(path: str, engine: str, base: str) -> None:
    """Every time, not every second time."""
    async with aiohttp.ClientSession() as session:
        for _ in range(4):
            async with session.get(f"{base}{path}") as reply:
                assert (reply.status, reply.headers["x-paceline-backend"]) == (200, engine)
