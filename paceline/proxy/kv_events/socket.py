"""The ZeroMQ side of KV events: one subscription, its connection's ups and downs, and replays."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Literal

import zmq
import zmq.asyncio
from zmq.utils.monitor import parse_monitor_message

Message = tuple[int, bytes]
"""Sequence number and payload."""
News = Message | Literal["up", "down"]
REPLAY_SECONDS = 5.0
"""Longest wait for the next message of a replay; publishers look for such questions every 0.1 s."""
HEARTBEAT_MS = 2000
SILENCE_MS = 6000
"""After which a connection without a heartbeat's answer counts as lost."""
END = (-1).to_bytes(8, "big", signed=True)
LARGEST = 256 * 1024 * 1024
"""Bytes in a message: the ids of some tens of millions of tokens."""


class KvSocket:
    """Hears one publisher; use as a context manager."""

    def __init__(self, events: str, replay: str) -> None:
        self._address, self._replay = events, replay
        self._context = zmq.asyncio.Context()
        self._context.linger = 0
        self._events = self._context.socket(zmq.SUB)
        self._events.set(zmq.RCVHWM, 0)  # without limit: what is dropped here must be replayed
        self._events.set(zmq.MAXMSGSIZE, LARGEST)
        self._events.set(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        self._events.set(zmq.HEARTBEAT_TIMEOUT, SILENCE_MS)
        self._monitor = self._events.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        )
        self._poller = zmq.asyncio.Poller()
        self._poller.register(self._monitor, zmq.POLLIN)
        self._poller.register(self._events, zmq.POLLIN)
        self._events.subscribe(b"")

    def __enter__(self) -> KvSocket:
        """Connect, and go on trying; raises zmq.ZMQError for what is no address."""
        try:
            self._events.connect(self._address)
        except zmq.ZMQError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._events.disable_monitor()
        self._context.destroy(linger=0)

    async def next(self) -> News:
        """The next message, or that the publisher can be heard or not, whichever is first."""
        ready = dict(await self._poller.poll())
        if self._monitor in ready:
            event = parse_monitor_message(await self._monitor.recv_multipart())["event"]
            return "down" if event == zmq.EVENT_DISCONNECTED else "up"
        return _message(await self._events.recv_multipart())

    async def replay(self, start: int) -> list[Message] | None:
        """What the publisher still has from `start` on; None where it does not say."""
        if not self._replay:
            return None
        with self._context.socket(zmq.DEALER) as socket, suppress(TimeoutError):
            socket.connect(self._replay)
            await socket.send_multipart([b"", start.to_bytes(8, "big")])
            messages: list[Message] = []
            while True:
                async with asyncio.timeout(REPLAY_SECONDS):
                    frames = await socket.recv_multipart()
                if frames[-2] == END:
                    return messages
                messages.append(_message(frames))
        return None


def _message(frames: list[bytes]) -> Message:
    """The last two frames, whatever topic and routing stand before them."""
    return int.from_bytes(frames[-2], "big"), frames[-1]
