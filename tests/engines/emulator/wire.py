"""Words for talking to an emulator: post JSON, read a stream's events, read a metric."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import msgspec

Client = aiohttp.ClientSession
Start = Callable[..., Awaitable[Client]]


async def post(client: Client, path: str, body: object) -> tuple[int, Any]:
    """Status and decoded reply."""
    async with client.post(path, json=body) as reply:
        return reply.status, msgspec.json.decode(await reply.read())


async def get(client: Client, path: str) -> Any:
    """Decoded reply."""
    async with client.get(path) as reply:
        return msgspec.json.decode(await reply.read())


async def events(client: Client, path: str, body: object) -> list[Any]:
    """The data of a stream's events; `[DONE]` as it is."""
    async with client.post(path, json=body) as reply:
        assert reply.content_type == "text/event-stream"
        text = await reply.text()
    data = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
    return [item if item == "[DONE]" else msgspec.json.decode(item) for item in data]


async def metric(client: Client, name: str) -> float:
    """The value of one sample, labels left aside."""
    async with client.get("/metrics") as reply:
        lines = (await reply.text()).splitlines()
    (value,) = [line.split()[-1] for line in lines if line.split("{")[0].split()[0] == name]
    return float(value)


async def until(client: Client, name: str, value: float) -> None:
    """Read a metric until it has `value`; the test's own timeout bounds it."""
    while await metric(client, name) != value:
        pass
