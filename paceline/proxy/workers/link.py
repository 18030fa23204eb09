"""One end of the socket between a worker and its parent: messages, batched once a loop turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar, cast

from paceline.proxy.workers.messages import ToParent, ToWorker, encode

HEAD = 4
"""Bytes that tell a batch's length."""

Heard = TypeVar("Heard")
Said = TypeVar("Said", bound=ToParent | ToWorker)


class Link(asyncio.Protocol, Generic[Said, Heard]):
    """Sends what is said, in order; calls `on_message` for all that is heard, in order."""

    def __init__(
        self,
        decode: Callable[[bytes], list[Heard]],
        on_message: Callable[[Heard], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._decode = decode
        self._on_message = on_message
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._lost = False
        self._said: list[Said] = []
        self._heard = bytearray()

    def send(self, message: Said) -> None:
        """Have it sent before the loop looks for anything else to do; lost once the peer is."""
        if self._lost:
            return
        if not self._said:
            self._loop.call_soon(self.flush)
        self._said.append(message)

    def flush(self) -> None:
        """Send now what waits, if the connection is there."""
        if self._transport is not None and self._said:
            batch = encode(self._said)
            self._said.clear()
            self._transport.write(len(batch).to_bytes(HEAD, "big") + batch)

    def close(self) -> None:
        """End the conversation once the system has taken all that was said."""
        self.flush()
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.flush()

    def data_received(self, data: bytes) -> None:
        heard = self._heard
        heard += data
        start = 0
        while (end := start + HEAD) <= len(heard):
            end += int.from_bytes(heard[start:end], "big")
            if end > len(heard):
                break
            for message in self._decode(bytes(heard[start + HEAD : end])):
                self._on_message(message)
            start = end
        del heard[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._lost = True
        self._said.clear()
        self._on_lost()
