"""A client for benchmarks: sends completions, measures each, and knows no proxy from an engine."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
import msgspec


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request to come: seconds after the start, and its token ids or text."""

    at: float
    prompt: list[int] | str
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Result:
    """One request's life, in seconds after the start of the run."""

    arrived: float
    first: float
    last: float
    prompt_tokens: int
    cached_tokens: int


class Details(msgspec.Struct):
    """`usage.prompt_tokens_details`."""

    cached_tokens: int | None = None


class Usage(msgspec.Struct):
    """`usage` of the last chunk."""

    prompt_tokens: int = 0
    prompt_tokens_details: Details | None = None


class Chunk(msgspec.Struct):
    """What is read of a streamed chunk."""

    usage: Usage | None = None


CHUNK = msgspec.json.Decoder(Chunk)


def families(
    count: int, members: int, shared: int, unique: int, output: int, seed: int = 7
) -> list[Prompt]:
    """All members of all families at once, shuffled."""
    rng = random.Random(seed)
    prompts = []
    for _ in range(count):
        prefix = [rng.randrange(32_000) for _ in range(shared)]
        for _ in range(members):
            tail = [rng.randrange(32_000) for _ in range(unique)]
            prompts.append(Prompt(0.0, prefix + tail, output))
    rng.shuffle(prompts)
    return prompts


async def send(url: str | Sequence[str], model: str, prompts: Sequence[Prompt]) -> list[Result]:
    """Send each prompt at its time as a streamed completion, to several addresses in turn.

    RuntimeError for a bad answer.
    """
    urls = [url] if isinstance(url, str) else url
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        bodies = [_body(model, prompt) for prompt in prompts]
        start = _now()
        return await asyncio.gather(
            *(
                _send(session, urls[i % len(urls)], prompt, body, start)
                for i, (prompt, body) in enumerate(zip(prompts, bodies, strict=True))
            )
        )


def _body(model: str, prompt: Prompt) -> bytes:
    return msgspec.json.encode(
        {
            "model": model,
            "prompt": prompt.prompt,
            "max_tokens": prompt.output_tokens,
            "ignore_eos": True,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    )


async def _send(
    session: aiohttp.ClientSession, url: str, prompt: Prompt, body: bytes, start: float
) -> Result:
    await asyncio.sleep(start + prompt.at - _now())
    arrived = _now() - start
    first = 0.0
    usage = Usage()
    headers = {"content-type": "application/json"}
    async with session.post(f"{url}/v1/completions", data=body, headers=headers) as response:
        if response.status != 200:
            raise RuntimeError(f"{response.status}: {(await response.text())[:500]}")
        async for line in response.content:
            if not line.startswith(b"data: {"):
                continue
            first = first or _now() - start
            usage = CHUNK.decode(line[6:]).usage or usage
    details = usage.prompt_tokens_details or Details()
    last = _now() - start
    return Result(arrived, first, last, usage.prompt_tokens, details.cached_tokens or 0)


def _now() -> float:
    return asyncio.get_running_loop().time()
