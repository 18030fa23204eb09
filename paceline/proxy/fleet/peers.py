"""The others, as far as they were heard: turns their batches into the scheduler's events.

Batches may come late, twice or not at all. One whose run and number are not above the last of its
proxy is dropped; a gap ends all that the proxy had in flight, and it is asked to tell anew. Nothing
here is about this proxy's own requests: peers' have names of their own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from msgspec import Struct, field

from paceline.proxy.fleet.messages import Batch, Ended, First, News, Sent
from paceline.scheduler import events
from paceline.scheduler.types import Keys

SILENCE_SECONDS = 3.0
"""After which a proxy is taken for dead: three of its slowest batches."""
REMEMBERED = 1024
"""Proxies of which it is known where they were, alive or not."""

Heard = events.Sent | events.FirstByte | events.Finished | events.Failed


class Peer(Struct):
    """One proxy."""

    proxy: str
    run: int
    number: int
    """Of its last batch."""
    heard_at: float
    running: dict[int, Keys] = field(default_factory=dict)
    """The prefixes of what it has in flight."""

    def id(self, number: int) -> str:
        """A request's name in the scheduler: with the dots, none of this proxy's own."""
        return f"{self.proxy}.{self.run}.{number}"

    def fail(self) -> Iterator[events.Failed]:
        """All that it has in flight ends, and is not believed to be cached."""
        running, self.running = self.running, {}
        for number in running:
            yield events.Failed(self.id(number))


class Peers:
    """All that were heard and are not silent."""

    def __init__(self, own: str) -> None:
        """`own` is the name of this proxy, whose batches come back, too."""
        self.batches = self.gaps = self.dropped = self.requests = 0
        """Counters: heard; where batches were missing; late, twice or unreadable; sent by peers."""
        self.asks = True
        """Somebody should tell all that it has in flight."""
        self.asked = False
        """Somebody wants to know all that is in flight here."""
        self._own = own
        self._alive: dict[str, Peer] = {}
        self._last: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """Run and number of each proxy's last batch."""

    def __len__(self) -> int:
        return len(self._alive)

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._alive.values())

    def hear(self, batch: Batch, now: float) -> Iterator[Heard]:
        """What a batch means for the scheduler."""
        if batch.proxy == self._own:
            return
        if (batch.run, batch.number) <= self._last.get(batch.proxy, (-1, -1)):
            self.dropped += 1
            return
        self._remember(batch)
        peer = self._alive.get(batch.proxy)
        if peer is None or batch.run != peer.run or batch.number != peer.number + 1:
            peer, before = self._anew(batch, peer, now), peer
            yield from () if before is None else before.fail()
        peer.number, peer.heard_at = batch.number, now
        self.batches += 1
        self.asked = self.asked or batch.asks
        for news in batch.news:
            yield from self._take(peer, news, now)
        if batch.running is not None:
            for number in peer.running.keys() - set(batch.running):
                del peer.running[number]
                yield events.Failed(peer.id(number))

    def silent(self, now: float) -> Iterator[Heard]:
        """What it means that time has passed: who is silent is gone."""
        for peer in list(self._alive.values()):
            if now - peer.heard_at > SILENCE_SECONDS:
                del self._alive[peer.proxy]
                self.asks = True
                yield from peer.fail()

    def _anew(self, batch: Batch, before: Peer | None, now: float) -> Peer:
        """A proxy, or its run, is new, or something of it was missed."""
        if before is not None and batch.run == before.run:
            self.gaps += 1
        if batch.number:
            self.asks = True
        peer = Peer(batch.proxy, batch.run, batch.number, now)
        self._alive[batch.proxy] = peer
        return peer

    def _take(self, peer: Peer, news: News, now: float) -> Iterator[Heard]:
        number, id = news.number, peer.id(news.number)
        if isinstance(news, Sent):
            if number not in peer.running:
                peer.running[number] = news.prefix
                self.requests += 1
                yield events.Sent(news.request(id, now), news.backend)
        elif number not in peer.running:
            pass  # it was sent before this proxy listened
        elif isinstance(news, First):
            yield events.FirstByte(id, news.took_ms / 1000)
        else:
            prefix = peer.running.pop(number)
            if isinstance(news, Ended):
                answered = prefix + news.answered if news.answered else ()
                yield events.Finished(id, news.usage(), answered, news.took_ms / 1000)
            else:
                yield events.Failed(id)

    def _remember(self, batch: Batch) -> None:
        self._last[batch.proxy] = batch.run, batch.number
        self._last.move_to_end(batch.proxy)
        if len(self._last) > REMEMBERED:
            self._last.popitem(last=False)
