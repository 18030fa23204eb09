"""Publishes KV events as engines do: numbered batches, and a replay of those still kept."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
import zmq
import zmq.asyncio

from tests.proxy.rig import free_port

END = (-1).to_bytes(8, "big", signed=True)


class Publisher:
    """One engine's publisher; `kept` is what a replay gives."""

    def __init__(self, events: int = 0, replay: int = 0) -> None:
        self.ports = (events or free_port(), replay or free_port())
        self.kept: list[tuple[int, bytes]] = []
        self.asked: list[int] = []
        """Where replays were to start."""
        self.seq = 0
        self._context = zmq.asyncio.Context()
        self._context.linger = 0
        self._events = self._context.socket(zmq.XPUB)
        self._events.bind(f"tcp://127.0.0.1:{self.ports[0]}")
        self._replay = self._context.socket(zmq.ROUTER)
        self._replay.bind(f"tcp://127.0.0.1:{self.ports[1]}")
        self._task = asyncio.create_task(self._serve())

    @property
    def urls(self) -> dict[str, str]:
        """As a backend's settings."""
        events, replay = (f"tcp://127.0.0.1:{port}" for port in self.ports)
        return {"kv_events": events, "kv_replay": replay}

    async def subscribed(self) -> None:
        """Return when somebody subscribed."""
        await self._events.recv()

    async def publish(self, *events: Any, lost: bool = False) -> None:
        """One batch, which may get lost on its way."""
        await self.send(msgspec.msgpack.encode([0.0, events]), lost=lost)

    async def send(self, payload: bytes, *, lost: bool = False) -> None:
        """One message."""
        message = (self.seq, payload)
        self.seq += 1
        self.kept.append(message)
        if not lost:
            await self._events.send_multipart([b"", message[0].to_bytes(8, "big"), payload])

    async def close(self) -> None:
        """Go away."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._context.destroy(linger=0)

    async def _serve(self) -> None:
        while True:
            client, _, start = await self._replay.recv_multipart()
            first = int.from_bytes(start, "big")
            self.asked.append(first)
            for seq, payload in list(self.kept):
                if seq >= first:
                    frames = [client, b"", b"", seq.to_bytes(8, "big"), payload]
                    await self._replay.send_multipart(frames)
            await self._replay.send_multipart([client, b"", b"", END, b""])
