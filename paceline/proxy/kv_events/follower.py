"""Follows one backend's KV events: tells the scheduler what the cache holds, or that nobody knows.

The set is exact while every event since the cache was empty has been seen: from the first one on,
from a replay that reaches back to it, or from `AllBlocksCleared`. A gap that no replay fills, a
publisher that is gone or messages that cannot be read bring the estimate back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from paceline.engines.api import ids_root
from paceline.engines.kv_events import AllBlocksCleared, Event, Mirror, decode
from paceline.proxy.serving.tokenizing import Tokenizers
from paceline.proxy.upstream.directory import Entry
from paceline.scheduler.types import Keys

if TYPE_CHECKING:
    from paceline.proxy.kv_events.socket import KvSocket, Message

LOOK_SECONDS = 0.2
"""How often it is looked whether the backend has said what it serves."""

log = structlog.get_logger()


class Sink(Protocol):
    """Who is told: the driver."""

    def backend_reset(self, id: str) -> None:
        """Its cache is empty."""
        ...

    def cache_reported(
        self, id: str, stored: Keys = (), removed: Keys = (), *, known: bool = True
    ) -> None:
        """These blocks came and went."""
        ...


async def follower(entry: Entry, *, sink: Sink, models: Tokenizers, seed: bytes) -> None:
    """Follow the events of a backend until cancelled."""
    from paceline.proxy.kv_events.socket import KvSocket  # needs pyzmq, an extra

    while not entry.up:
        await asyncio.sleep(LOOK_SECONDS)
    try:
        with KvSocket(entry.config.kv_events, entry.config.kv_replay) as socket:
            following = Following(entry, socket, sink, models, seed)
            try:
                while True:
                    await following.step()
            finally:
                following.lose("no longer followed")
    except Exception:
        log.exception("kv events cannot be followed", backend=entry.id)


class Following:
    """One subscription and what came of it so far."""

    def __init__(
        self, entry: Entry, socket: KvSocket, sink: Sink, models: Tokenizers, seed: bytes
    ) -> None:
        self._entry = entry
        self._socket = socket
        self._sink = sink
        self._models = models
        self._seed = seed
        self._log = log.bind(backend=entry.id)
        self._next = 0
        """The sequence number that comes next."""
        self._heard = -1
        """The last one that came by itself, in no replay."""
        self._exact = False
        """Nothing was missed since the cache was empty."""
        self._mirror: Mirror | None = None
        """Of the cache; None where no model here has a tokenizer."""

    async def step(self) -> None:
        """Take what comes next."""
        news = await self._socket.next()
        if news == "up":
            await self._begin()
        elif news == "down":
            self.lose("the publisher is gone")
        elif isinstance(news, tuple):
            await self._take(news)

    def lose(self, why: str) -> None:
        """What the cache holds is not known from here on."""
        if self._exact:
            self._exact = False
            self._log.warning("kv events lost", why=why)
            if self._mirror is not None:
                self._sink.cache_reported(self._entry.id, known=False)

    async def _begin(self) -> None:
        """A publisher is there, the one from before or another."""
        self.lose("the publisher is another or was away")
        self._next, self._heard = 0, -1
        history = await self._socket.replay(0)
        if history is None:
            return  # unless the first event is still to come
        if history and history[0][0] != 0:
            self._next = history[0][0]
            self._log.warning("kv events have no beginning", first=history[0][0])
        else:
            self._empty()
        await self._apply_all(history)

    async def _take(self, message: Message) -> None:
        seq = message[0]
        if seq <= self._heard:
            await self._begin()  # numbered anew: another publisher
        self._heard = seq
        if seq < self._next:
            return  # it was in a replay
        if seq > self._next:
            await self._catch_up(seq)
        elif seq == 0:
            self._empty()
        if seq == self._next:
            self._apply(message)

    async def _catch_up(self, seq: int) -> None:
        """Some were missed."""
        missed = await self._socket.replay(self._next) if self._exact else None
        if missed and missed[0][0] == self._next:
            await self._apply_all(missed)
        if self._next < seq:
            self.lose("a gap that was not replayed")
            self._next = seq

    async def _apply_all(self, messages: Sequence[Message]) -> None:
        """Up to 10,000 of them: others have their turn in between."""
        for message in messages:
            self._apply(message)
            await asyncio.sleep(0)

    def _apply(self, message: Message) -> None:
        seq, payload = message
        if seq != self._next:
            return
        self._next += 1
        try:
            events = decode(payload).events
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self.lose(f"not understood: {error}")
            return
        cleared = max(
            (i for i, e in enumerate(events) if isinstance(e, AllBlocksCleared)), default=-1
        )
        if cleared >= 0:
            self._sink.backend_reset(self._entry.id)
            self._empty()
        if self._exact:
            self._tell(events[cleared + 1 :])

    def _empty(self) -> None:
        """The cache is empty now: all that comes will be known."""
        self._mirror = self._new_mirror()
        if not self._exact:
            self._exact = True
            self._log.info("kv events followed", exact=self._mirror is not None)
        if self._mirror is not None:
            self._sink.cache_reported(self._entry.id, known=False)
            self._sink.cache_reported(self._entry.id)

    def _tell(self, events: Sequence[Event]) -> None:
        if self._mirror is not None:
            change = self._mirror.apply(events)
            if change.stored or change.removed:
                self._sink.cache_reported(self._entry.id, change.stored, change.removed)

    def _new_mirror(self) -> Mirror | None:
        """Of all models here that have a tokenizer; the first one is the base of the adapters."""
        found = {name: model for name in self._entry.models if (model := self._models.get(name))}
        if not found:
            return None
        roots: dict[str | None, bytes] = {n: ids_root(self._seed, n) for n in found}
        base = next(iter(found))
        roots[None] = roots[base]
        return Mirror(roots, found[base].block)


def _after_clearing(events: Sequence[Event]) -> int:
    """Where those begin that came after the last clearing; 0 where there was none."""
    cleared = [i for i, event in enumerate(events) if isinstance(event, AllBlocksCleared)]
    return cleared[-1] + 1 if cleared else 0
