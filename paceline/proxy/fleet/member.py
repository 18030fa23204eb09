"""This proxy as one of a fleet: tells what it does, hears the others, rejoins after a loss."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Protocol

import msgspec
import structlog

from paceline.proxy.fleet.messages import Batch, decode, encode
from paceline.proxy.fleet.outbox import Outbox
from paceline.proxy.fleet.peers import Heard, Peers
from paceline.scheduler.events import Action, Event, ProxiesChanged
from paceline.scheduler.types import Request

BEAT_SECONDS = 1.0
"""Longest time without a batch, if there is nothing to tell."""
QUICK_SECONDS = 0.005
"""Shortest time between batches, however much there is that others should hear at once: 200 of them
take 4% of a core to append."""
LIST_SECONDS = 5.0
"""How often all that is in flight is listed."""
RETRY_SECONDS = 0.5
"""Pause before a store that failed is tried again."""
LOOK_SECONDS = 0.5
"""How often it is looked who is silent."""
AT_ONCE = 32
"""Events of peers after which others have their turn: a millisecond's work."""

log = structlog.get_logger()


class StoreLost(Exception):
    """The store does not answer, or says no."""


class Store(Protocol):
    """What carries batches; what one appends, all read, in one order."""

    async def append(self, data: bytes) -> None:
        """Add a batch; raises StoreLost."""
        ...

    async def read(self) -> list[bytes]:
        """What was added since the last call; waits a while for it. Raises StoreLost."""
        ...

    async def close(self) -> None:
        """It is not used any more."""
        ...


class Listener(Protocol):
    """Who is told what peers did: the driver."""

    def heard(self, event: Heard | ProxiesChanged) -> None:
        """A peer's request went on, or there are more peers or fewer."""
        ...


class Member:
    """Runs three tasks, from `start` to `close`."""

    def __init__(
        self,
        store: Store,
        listener: Listener,
        request: Callable[[str], Request | None],
        interval: float,
    ) -> None:
        """`request` finds one that runs by its id; `interval` is the time between batches."""
        self._store = store
        self._listener = listener
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._full = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._proxies = 1
        self._told_at: dict[int, float] = {}
        """When batches were appended that have not come back."""
        self._listed_at = 0.0
        self._beat_at = 0.0
        self._quick_at = 0.0
        self.proxy = secrets.token_hex(6)
        self.outbox = Outbox(self.proxy, request, self._full.set, self._loop.time)
        self.peers = Peers(self.proxy)
        self.told = 0
        """Batches appended."""
        self.lag = 0.0
        """Seconds that this proxy's last batch took to come back."""

    @property
    def connected(self) -> bool:
        """Whether the store took the last batch."""
        return not self.outbox.alone

    def start(self) -> None:
        """Begin to tell and to listen."""
        for work in (self._tell, self._listen, self._watch):
            self._tasks.append(asyncio.create_task(_forever(work), name=f"fleet {work.__name__}"))

    async def close(self) -> None:
        """Tell nothing more and listen no longer."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._store.close()

    def note(self, event: Event, actions: list[Action]) -> None:
        """What the scheduler was told and decided."""
        self.outbox.note(event, actions)

    # Telling

    async def _tell(self) -> None:
        """One batch after another, while there is something to tell."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._full.wait(), self._interval)
        await asyncio.sleep(max(0.0, self._quick_at - self._loop.time()))
        self._full.clear()
        now = self._loop.time()
        self._quick_at = now + min(QUICK_SECONDS, self._interval)
        talks = len(self.outbox) or self.peers.asks or self.peers.asked or self.outbox.alone
        if talks or now >= self._beat_at:
            await self._append(now)

    async def _append(self, now: float) -> None:
        lists = now >= self._listed_at + LIST_SECONDS
        asked, self.peers.asked = self.peers.asked, False
        asks, self.peers.asks = self.peers.asks, False
        again, self.outbox.alone = self.outbox.alone, False
        batch = self.outbox.batch(asks=asks, everything=asked or again, running=lists)
        self._told_at[batch.number] = self._loop.time()
        try:
            await self._store.append(encode(batch))
        except StoreLost as error:
            self._lose(again=again, why=str(error))
            await asyncio.sleep(RETRY_SECONDS)
            return
        self.told += 1
        self._beat_at = now + BEAT_SECONDS
        if lists:
            self._listed_at = now
        if again:
            log.info("fleet joined", proxy=self.proxy, run=self.outbox.run)

    def _lose(self, *, again: bool, why: str) -> None:
        """Nobody may have heard what was told last: the next batch begins a new run."""
        if not again or not self.outbox.run:
            log.warning("fleet lost, going on alone", why=why)
        self.outbox.begin()
        self.outbox.alone = self.peers.asks = True
        self._told_at.clear()

    # Listening

    async def _listen(self) -> None:
        """Whatever has come; a store that failed is tried again after a pause."""
        try:
            read = await self._store.read()
        except StoreLost:
            await asyncio.sleep(RETRY_SECONDS)
            return
        for data in read:
            await self._hear(data)

    async def _hear(self, data: bytes) -> None:
        try:
            batch = decode(data)
        except msgspec.DecodeError as error:
            self.peers.dropped += 1
            log.debug("batch not understood", why=str(error))
            return
        now = self._loop.time()
        if batch.proxy == self.proxy:
            self._returned(batch, now)
        for count, event in enumerate(self.peers.hear(batch, now), 1):
            self._listener.heard(event)
            if not count % AT_ONCE:
                await asyncio.sleep(0)
        self._count()

    def _returned(self, batch: Batch, now: float) -> None:
        """One of its own."""
        if batch.run == self.outbox.run and batch.number in self._told_at:
            self.lag = now - self._told_at[batch.number]
            self._told_at = {n: at for n, at in self._told_at.items() if n > batch.number}

    # Who is there

    async def _watch(self) -> None:
        await asyncio.sleep(LOOK_SECONDS)
        self._feed(self.peers.silent(self._loop.time()))
        self._count()

    def _feed(self, events: Iterable[Heard]) -> None:
        for event in events:
            self._listener.heard(event)

    def _count(self) -> None:
        """There may be more proxies, or fewer."""
        proxies = len(self.peers) + 1
        if proxies != self._proxies:
            log.info("fleet changed", proxies=proxies, before=self._proxies)
            self._proxies = proxies
            self._listener.heard(ProxiesChanged(proxies))


async def _forever(work: Callable[[], Awaitable[None]]) -> None:
    """Again and again; what nobody thought of is logged, and work goes on."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("fleet stumbled")
            await asyncio.sleep(RETRY_SECONDS)
