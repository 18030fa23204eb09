"""Eight questions to any proxy before two scripted engines, each put to a fresh one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import msgspec
from msgspec import Struct

from bench.faults.client import Seen, talk
from bench.faults.scripted import RETRY_AFTER, Mood, ScriptedEngine

PATH = "/v1/chat/completions"
MANY = 20
REFUSED, AFTER = 6, 10
"""Requests that are refused, and good ones that follow at once."""
PATIENCE = 1.5
"""Seconds that a client waits where one engine hangs."""
AT_ONCE, NEVER = 0.1, 5.0
"""Seconds within which a connection is closed at once; after which it never is."""


class Place(Struct, frozen=True):
    """A running proxy and what is behind it."""

    port: int
    engines: Sequence[ScriptedEngine]

    async def ask(self, number: int, *, stream: bool = False, patience: float = 20.0) -> Seen:
        """One request on a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            name = f"probe-{number}x"
            return await talk(
                reader, writer, body(number, stream), name, path=PATH, patience=patience
            )
        finally:
            writer.transport.abort()

    async def answered(self, count: int, patience: float = 20.0) -> int:
        """How many of so many requests, one after the other, get a whole 200."""
        return sum([(await self.ask(i, patience=patience)).word == "200" for i in range(count)])

    def mood(self, mood: Mood) -> None:
        """From now on all engines are like that."""
        for engine in self.engines:
            engine.mood = mood

    @property
    def asked(self) -> int:
        """Generations that engines were asked for."""
        return sum(engine.asked for engine in self.engines)

    @property
    def favourite(self) -> ScriptedEngine:
        """The engine that was asked most."""
        return max(self.engines, key=lambda engine: engine.asked)


def body(number: int, stream: bool = False) -> bytes:
    """A chat that shares its beginning with no other."""
    content = f"{number} is the number of this question. " * 8
    message = {"role": "user", "content": content}
    return msgspec.json.encode(
        {"model": "m", "messages": [message], "max_tokens": 8, "stream": stream}
    )


async def client_leaves(place: Place) -> str:
    """Before the first byte: when is the engine's connection closed?"""
    place.mood(Mood.SILENT)
    before = place.asked
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
    asking = asyncio.create_task(talk(reader, writer, body(0, True), "leaver", path=PATH))
    while place.asked == before:
        await asyncio.sleep(0.01)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    writer.transport.abort()
    loop = asyncio.get_running_loop()
    began = loop.time()
    lefts = [asyncio.create_task(engine.left.wait()) for engine in place.engines]
    done, pending = await asyncio.wait(lefts, timeout=NEVER, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    took = loop.time() - began
    return "never" if not done else "at once" if took < AT_ONCE else f"after {took:.1f} s"


async def dies_mid_stream(place: Place) -> str:
    """What does the client see?"""
    place.mood(Mood.DIES)
    seen = await place.ask(0, stream=True)
    if seen.status != 200:
        return str(seen.status)
    told = "error, " if seen.errors else ""
    return f"{told}{'clean end' if seen.whole else 'cut'}"


async def dies_in_json(place: Place) -> str:
    """What does the client see, and how often was an engine asked?"""
    place.mood(Mood.DIES)
    before = place.asked
    seen = await place.ask(0)
    what = str(seen.status) if seen.whole else "cut"
    return f"{what}, {_tries(place.asked - before)}"


def _tries(count: int) -> str:
    return "1 try" if count == 1 else f"{count} tries"


async def drops_reused(place: Place) -> str:
    """How many of the requests are answered?"""
    place.mood(Mood.DROPS_REUSED)
    return str(await place.answered(MANY))


def refuses(mood: Mood) -> Callable[[Place], Awaitable[str]]:
    """How often engines are asked, how often Retry-After is passed on, and what comes after."""

    async def probe(place: Place) -> str:
        place.mood(mood)
        before = place.asked
        seen = [await place.ask(i) for i in range(REFUSED)]
        asked = place.asked - before
        passed = sum(each.retry_after == RETRY_AFTER for each in seen)
        place.mood(Mood.GOOD)
        good = await place.answered(AFTER)
        return f"{asked}; {passed}; {good}"

    return probe


async def port_closed(place: Place) -> str:
    """How many are answered?"""
    await place.favourite.close()
    return str(await place.answered(MANY))


async def hangs(place: Place) -> str:
    """How many are answered in time?"""
    victim = place.favourite
    victim.thawed.clear()
    found = str(await place.answered(MANY, PATIENCE))
    victim.thawed.set()
    return found


PROBES: dict[str, Callable[[Place], Awaitable[str]]] = {
    "client leaves before the first byte: engine's connection closed": client_leaves,
    "engine dies mid-stream: client sees": dies_mid_stream,
    "engine dies inside a JSON body": dies_in_json,
    f"reused connection dropped, {MANY} requests answered": drops_reused,
    "six times 429: engines asked; `Retry-After`s passed; good ones after": refuses(Mood.BUSY),
    "six times 503: the same": refuses(Mood.UNAVAILABLE),
    f"one of two ports closed, {MANY} requests answered": port_closed,
    f"one of two hangs, {MANY} requests answered within {PATIENCE:g} s": hangs,
}


async def warmed(place: Place, wanted: int = 6, seconds: float = 30.0) -> None:
    """Until so many good requests in a row were answered; TimeoutError."""
    row = 0
    async with asyncio.timeout(seconds):
        while row < wanted:
            with suppress(ConnectionError):
                row = row + 1 if (await place.ask(-1 - row)).word == "200" else 0
