"""Clients of every kind: chat turns, shared prefixes, streams and JSON, big bodies, leavers."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque

import msgspec

from bench.faults.client import Leave, Seen, talk
from bench.soak.engines import Engines

FAMILIES = 24
TURNS = 5
"""Of a conversation; all of them on one connection, kept between them."""
THINKING = 12
"""Conversations between two turns; with so many a turn comes every few seconds."""
LEAVING = 0.08
"""Share of the completions whose client goes away at some stage."""
BIG_BYTES = 2_000_000
"""Of a member that engines ignore, such as clients send along."""
PATIENCE = 60.0
LETTERS = "abcdefghijklmnopqrstuvwxyz      "
KINDS = {"chat turn": 40, "shared prefix": 45, "distinct prompt": 14, "big body": 1}
"""What is asked for, in parts of a hundred."""


class Conversation:
    """A chat on a connection of its own, one turn after the other."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._messages = [{"role": "system", "content": f"system {rng.randrange(4)} " * 100}]
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.turns = 0

    async def turn(self, port: int, id: str) -> Seen:
        """Ask once more, with all that was said before; a broken connection is made anew."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", port)
        self._messages.append({"role": "user", "content": words(self._rng, 400)})
        body = encoded(self._rng, messages=self._messages)
        path = "/v1/chat/completions"
        seen = await talk(*self._streams, body, id, path=path, patience=PATIENCE)
        self._messages.append({"role": "assistant", "content": words(self._rng, 160)})
        self.turns += 1
        if not seen.whole or seen.status != 200:
            self.close()
        return seen

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


class Traffic:
    """Requests at random instants, what became of them, and which failures nobody asked for."""

    def __init__(self, port: int, engines: Engines, rng: random.Random) -> None:
        self.seen: Counter[str] = Counter()
        """By what clients saw."""
        self.kinds: Counter[str] = Counter()
        self.unexcused: list[str] = []
        self.sent = 0
        self.left = 0
        self.seconds: list[float] = []
        """Of those answered whole."""
        self._port = port
        self._engines = engines
        self._rng = rng
        self._idle: deque[Conversation] = deque()
        self._prefixes = [words(rng, 1600) for _ in range(FAMILIES)]

    async def closed(self, clients: int, seconds: float) -> float:
        """As much as so many clients get who wait for each answer: requests a second."""
        end = asyncio.get_running_loop().time() + seconds

        async def client() -> None:
            while asyncio.get_running_loop().time() < end:
                await self._one()

        before = self.sent
        await asyncio.gather(*(client() for _ in range(clients)))
        return (self.sent - before) / seconds

    async def opened(self, rate: float, seconds: float) -> None:
        """So many a second, whatever becomes of them; returns when the last one has ended."""
        loop = asyncio.get_running_loop()
        at = loop.time()
        end = at + seconds
        under_way: set[asyncio.Task[None]] = set()
        while (at := at + self._rng.expovariate(rate)) < end:
            await asyncio.sleep(at - loop.time())
            task = loop.create_task(self._one())
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)

    def close(self) -> None:
        """Those who think hang up."""
        while self._idle:
            self._idle.pop().close()

    async def _one(self) -> None:
        kind = self._rng.choices(list(KINDS), list(KINDS.values()))[0]
        self.sent += 1
        id = f"soak-{self.sent}x"
        loop = asyncio.get_running_loop()
        began = loop.time()
        seen = await self._ask(kind, id)
        self.kinds[kind] += 1
        self._note(seen, f"{id}, {kind}", self._engines.excuse(id, began, loop.time()))

    def _note(self, seen: Seen, name: str, excused: bool) -> None:
        word = seen.word
        self.seen[word] += 1
        self.left += seen.left
        if word == "200":
            self.seconds.append(seen.seconds)
        elif word != "left" and not excused:
            self.unexcused.append(f"{name}: {word} after {seen.seconds:.1f} s")

    async def _ask(self, kind: str, id: str) -> Seen:
        rng = self._rng
        if kind == "chat turn":
            return await self._turn(id)
        if kind == "shared prefix":
            prompt = rng.choice(self._prefixes) + words(rng, 200)
        else:
            prompt = words(rng, rng.randrange(2_000, 12_000))
        attached = {"metadata": words(rng, 100) * (BIG_BYTES // 100)} if kind == "big body" else {}
        leave = rng.choice(list(Leave)[1:]) if rng.random() < LEAVING else Leave.NEVER
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            body = encoded(rng, prompt=prompt, **attached)
            return await talk(reader, writer, body, id, leave=leave, patience=PATIENCE)
        finally:
            writer.transport.abort()

    async def _turn(self, id: str) -> Seen:
        """The next one of whoever has thought longest, or a first one."""
        enough = len(self._idle) >= THINKING
        conversation = self._idle.popleft() if enough else Conversation(self._rng)
        seen = await conversation.turn(self._port, id)
        if conversation.turns < TURNS:
            self._idle.append(conversation)
        else:
            conversation.close()
        return seen


def encoded(rng: random.Random, **members: object) -> bytes:
    """A request's body; most are streams."""
    tokens, stream = rng.randrange(8, 48), rng.random() < 0.6
    body = {"model": "emulated", **members, "max_tokens": tokens, "stream": stream}
    return msgspec.json.encode(body)


def words(rng: random.Random, size: int) -> str:
    """So many characters that nobody has sent before."""
    return "".join(rng.choices(LETTERS, k=size))
