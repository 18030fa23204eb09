"""Asks one live engine: what it is, and streamed completions with the time of each token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import aiohttp
import msgspec
from msgspec import Struct

from paceline.engines import adapter, recognise
from paceline.engines.base import Facts

EVENT = b"data: {"
PROXY_HEADER = "x-paceline-backend"
ASK_SECONDS = 10.0
"""Longest wait for an engine's word about itself."""
ANSWER_SECONDS = 60.0
"""Longest wait for an answer's next token: an engine that needs more cannot be measured in time."""
FEW_CACHED = 64
"""Tokens that a prompt never sent may share by chance with another: a block or two."""


class CannotMeasure(Exception):
    """The engine cannot be calibrated; the message is one line that says why."""


class Answer(Struct, frozen=True, kw_only=True):
    """One streamed completion; times on the loop's clock."""

    sent: float
    times: list[float]
    """When each token came."""
    cached: int | None
    """Prompt tokens that the engine says it had; None when it does not say."""


class _Details(Struct):
    cached_tokens: int | None = None


class _Usage(Struct):
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None


class _Event(Struct):
    usage: _Usage | None = None


class _Card(Struct):
    max_model_len: int | None = None


class _Cards(Struct):
    data: list[_Card]


class LiveEngine:
    """An engine that serves nobody else."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.facts = Facts(kind="openai")
        self.context: int | None = None
        """Longest prompt and answer together, where it tells."""
        self._session = session
        self._url = url
        self._loop = asyncio.get_running_loop()

    async def look(self) -> None:
        """Find out what it is; CannotMeasure when it is no engine, or busy."""
        replies = await self._ask_all((*recognise.ASK, adapter.MODELS))
        kind = recognise.recognise(replies)
        if kind not in ("vllm", "sglang"):
            what = "is neither vLLM nor SGLang" if kind else "does not list its models"
            raise CannotMeasure(f"{self._url} {what}")
        its = recognise.ADAPTERS[kind]
        replies |= await self._ask_all(its.ask)
        self.facts = its.facts(replies)
        self.context = _context(replies[adapter.MODELS])
        for path, reply in (await self._ask_all(its.loads)).items():
            load = its.load(reply)
            if load is not None and load.running + load.waiting:
                busy = load.running + load.waiting
                raise CannotMeasure(f"{self._url} serves {busy} other requests ({path})")

    async def complete(
        self,
        ids: Sequence[int],
        tokens: int,
        *,
        known: int = 0,
        begun: Callable[[], None] | None = None,
    ) -> Answer:
        """`tokens` tokens after the prompt `ids`, of which `known` may be in the engine's cache.

        `begun` is called at the first. CannotMeasure for an answer whose times would mean something
        else.
        """
        data = _asked(self.facts.models[0], ids, tokens)
        sent = self._loop.time()
        try:
            arrived, body = await self._stream(data, begun)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise CannotMeasure(f"{self._url}: {error or type(error).__name__}") from None
        *events, last = [line for line in body.split(b"\n") if line.startswith(EVENT)] or [b""]
        usage = _usage(last)
        if usage is None:
            raise CannotMeasure(f"{self._url} ends its streams without usage")
        times = _token_times(arrived, events)
        cached = (usage.prompt_tokens_details or _Details()).cached_tokens
        self._check(len(times), tokens, usage.completion_tokens)
        if (cached or 0) > known + FEW_CACHED:
            never = f"{cached} of {len(ids)} tokens of a prompt that was sent for the first time"
            raise CannotMeasure(f"{self._url} says it had cached {never}")
        return Answer(sent=sent, times=times[:tokens], cached=cached)

    def _check(self, seen: int, asked: int, made: int) -> None:
        if made != asked:
            raise CannotMeasure(f"{self._url} made {made} tokens instead of {asked} (`ignore_eos`)")
        if seen < made:
            what = f"{made} tokens in {seen} events"
            raise CannotMeasure(f"{self._url} streams {what} and does not tell which")

    async def _stream(
        self, data: bytes, begun: Callable[[], None] | None
    ) -> tuple[list[float], bytes]:
        """When each event came, and all that was streamed: it is read when time does not matter."""
        times: list[float] = []
        tail = b""
        pieces: list[bytes] = []
        headers = {"content-type": "application/json"}
        url = f"{self._url}/v1/completions"
        async with self._session.post(url, data=data, headers=headers) as response:
            if PROXY_HEADER in response.headers:
                raise CannotMeasure(f"{self._url} is a paceline proxy: name the engine itself")
            if response.status != 200:
                said = " ".join((await response.text())[:300].split())
                raise CannotMeasure(f"{url}: {response.status}: {said}")
            async for piece in response.content.iter_any():
                now = self._loop.time()
                if begun is not None and not times:
                    begun()
                times += [now] * _events(tail, piece)
                tail = (tail + piece)[-len(EVENT) :]
                pieces.append(piece)
        return times, b"".join(pieces)

    async def _ask_all(self, paths: Sequence[str]) -> dict[str, bytes]:
        """Replies that were 200, by path; CannotMeasure when nobody listens."""
        return {path: reply for path in paths if (reply := await self._ask(path)) is not None}

    async def _ask(self, path: str) -> bytes | None:
        timeout = aiohttp.ClientTimeout(total=ASK_SECONDS)
        try:
            async with self._session.get(self._url + path, timeout=timeout) as response:
                return await response.read() if response.status == 200 else None
        except aiohttp.ClientConnectorError as error:
            raise CannotMeasure(f"{self._url} cannot be reached: {error.os_error}") from None
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None


@asynccontextmanager
async def live_engine(url: str) -> AsyncIterator[LiveEngine]:
    """The engine at `url`, looked at; CannotMeasure."""
    if not url.startswith(("http://", "https://")):
        raise CannotMeasure(f"`{url}` is no URL such as http://10.0.0.7:8000")
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    timeout = aiohttp.ClientTimeout(total=None, sock_read=ANSWER_SECONDS)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        engine = LiveEngine(session, url.rstrip("/").removesuffix("/v1"))
        await engine.look()
        yield engine


def _events(tail: bytes, piece: bytes) -> int:
    """Events whose first bytes end in `piece`, `tail` being what came before it."""
    overlap = len(EVENT) - 1
    return (tail[-overlap:] + piece).count(EVENT)


def _token_times(arrived: Sequence[float], events: Sequence[bytes]) -> list[float]:
    """When each token came: an event has one, unless it tells how many there are by now."""
    times: list[float] = []
    for at, event in zip(arrived, events, strict=False):
        usage = _usage(event)
        count = usage.completion_tokens if usage is not None else len(times) + 1
        times += [at] * (count - len(times))
    return times


def _asked(model: str, ids: Sequence[int], tokens: int) -> bytes:
    """The body of a request for so many tokens, whatever they are, with usage in each event."""
    asked = {
        "model": model,
        "prompt": ids,
        "max_tokens": tokens,
        "ignore_eos": True,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    }
    return msgspec.json.encode(asked)


def _usage(event: bytes) -> _Usage | None:
    """In an event of a stream, if there is one."""
    try:
        return msgspec.json.decode(event[len(EVENT) - 1 :], type=_Event).usage
    except msgspec.DecodeError:
        return None


def _context(models: bytes) -> int | None:
    try:
        cards = msgspec.json.decode(models, type=_Cards).data
    except msgspec.DecodeError:
        return None
    return cards[0].max_model_len if cards else None
