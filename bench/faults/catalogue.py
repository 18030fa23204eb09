"""The ways in which an engine fails a generation."""

from __future__ import annotations

import asyncio

from bench.faults.wire import HEAD_END, Cut, Fault, Link

SLOW_SECONDS = 1.5
"""More than a backend that answers nothing at all is given (`hang_seconds`)."""


class KilledBeforeHead(Fault):
    """The engine dies with the request in hand."""

    async def request(self, link: Link) -> None:
        raise Cut(reset=True)


class ClosesUnanswered(Fault):
    """It closes the connection in an orderly way instead of answering."""

    async def request(self, link: Link) -> None:
        raise Cut


class KilledAfterHead(Fault):
    """It dies when it has sent the reply's head."""

    async def reply(self, link: Link, data: bytes) -> None:
        end = data.find(HEAD_END)
        await link.say(data if end < 0 else data[: end + len(HEAD_END)])
        if end >= 0:
            raise Cut(reset=True)


class KilledMidStream(Fault):
    """It dies between two tokens, or in the middle of a JSON body."""

    def __init__(self, reset: bool = True) -> None:
        self._reset = reset
        self._seen = 0

    async def reply(self, link: Link, data: bytes) -> None:
        self._seen += 1
        if b"Content-Length: " in data:
            await link.say(data[:-20])
        elif self._seen < 4:
            await link.say(data)
            return
        raise Cut(self._reset)


class Hangs(Fault):
    """This generation is never answered; the engine lives otherwise."""

    async def request(self, link: Link) -> None:
        await link.freeze()


class Trickles(Fault):
    """A byte at a time: slow, but alive."""

    async def reply(self, link: Link, data: bytes) -> None:
        for i in range(len(data)):
            await link.say(data[i : i + 1])
            if i % 64 == 0:
                await asyncio.sleep(0)


class Garbage(Fault):
    """What it sends is not HTTP."""

    async def request(self, link: Link) -> None:
        await link.say(b"\x16\x03\x01 not what was asked for\r\n\r\n")
        raise Cut


class GarbageInChunks(Fault):
    """The framing breaks in the middle of a stream."""

    async def reply(self, link: Link, data: bytes) -> None:
        if link.position and b"Content-Length: " not in data:
            await link.say(b"zz\r\nnot a chunk\r\n")
            raise Cut
        await link.say(data)


class ClosesKeptConnections(Fault):
    """The answer is whole, then the kept connection is closed without notice."""

    async def done(self, link: Link) -> None:
        raise Cut


class DropsReused(Fault):
    """A kept connection is dropped when the next request has just been sent on it."""

    async def request(self, link: Link) -> None:
        if link.reused:
            raise Cut(reset=True)


class LongContentLength(Fault):
    """Content-Length promises more than comes."""

    async def reply(self, link: Link, data: bytes) -> None:
        await link.say(data.replace(b"Content-Length: ", b"Content-Length: 1", 1))
        if b"Content-Length: " in data:
            raise Cut


class ShortContentLength(Fault):
    """More comes than Content-Length promises."""

    async def reply(self, link: Link, data: bytes) -> None:
        length = data.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]
        short = b"Content-Length: %d" % max(1, int(length or b"1") // 2)
        await link.say(data.replace(b"Content-Length: " + length, short, 1))


class Refuses(Fault):
    """It answers every generation with one status."""

    def __init__(self, status: str, *lines: str) -> None:
        body = b'{"error":{"message":"scripted"}}'
        head = [f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body)}", "", ""]
        self._answer = "\r\n".join(head).encode() + body

    async def request(self, link: Link) -> None:
        await link.say(self._answer)
        raise Cut


class SlowToRead(Fault):
    """It takes the connection, and its time until it looks at the request."""

    async def request(self, link: Link) -> None:
        await asyncio.sleep(SLOW_SECONDS)


class StopsMidStream(Fault):
    """Some tokens come, then nothing, and the connection stays open."""

    def __init__(self) -> None:
        self._seen = 0

    async def reply(self, link: Link, data: bytes) -> None:
        self._seen += 1
        if self._seen < 3 and b"Content-Length: " not in data:
            await link.say(data)
            return
        await link.freeze()
