"""The client's side of these tests: ask, stream, wait for something to become true."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp

from tests.real.engines import MODEL

Json = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def events(self) -> list[Any]:
        """The body as JSON values: one, or each server-sent event's (`[DONE]` as text)."""
        if not self.headers["content-type"].startswith("text/event-stream"):
            return [json.loads(self.body)]
        datas = [line[6:] for line in self.body.decode().split("\n") if line.startswith("data: ")]
        return [data if data == "[DONE]" else json.loads(data) for data in datas]


def completion(prompt: str | list[int] | list[list[int]], max_tokens: int, **fields: Any) -> Json:
    """The body of a completion request that runs to `max_tokens`."""
    fixed = {"model": MODEL, "temperature": 0, "ignore_eos": True}
    return {**fixed, "prompt": prompt, "max_tokens": max_tokens, **fields}


async def ask(url: str, path: str, body: Json | None = None) -> Reply:
    """Send a request (GET without a body) and read the whole answer."""
    method = "GET" if body is None else "POST"
    async with aiohttp.request(method, url + path, json=body) as response:
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status, headers, await response.read())


@asynccontextmanager
async def opened(url: str, body: Json) -> AsyncIterator[aiohttp.ClientResponse]:
    """A completion's response with its body unread; leaving the block closes the connection."""
    # Leaving `request()` itself would wait for a body that is still to come.
    async with aiohttp.ClientSession() as session:
        response = await session.post(f"{url}/v1/completions", json=body)
        try:
            yield response
        finally:
            response.close()


async def until(
    what: str, look: Callable[[], Awaitable[T]], good: Callable[[T], bool], seconds: float
) -> T:
    """Look again and again until `good`; AssertionError with the last sight after `seconds`."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not good(seen := await look()):
        assert loop.time() < end, f"not within {seconds} s: {what}; last seen: {seen}"
        await asyncio.sleep(0.02)
    return seen
