"""What this proxy has to tell the others: collects news of its requests and batches them."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from paceline.proxy.fleet.messages import Batch, Failed, First, News, Sent, ended, told, whole_ms
from paceline.scheduler import events
from paceline.scheduler.events import Action, Dispatch, Event
from paceline.scheduler.types import Request

BATCH_BYTES = 65_536
"""A batch goes out early when it is so large: about 400 requests."""
LARGE_TOKENS = 512
"""Uncached prompt from which the others hear at once that it was sent and that it is computed: what
they must not compute, too (as `follower_min_tokens`)."""
ENDED_BYTES = 30
"""Of an `Ended` or a `First` and its share of the batch, at most, without keys."""
SENT_BYTES = 60
KEY_BYTES = 9


class Open(Struct):
    """A request of this proxy that a backend has."""

    sent: Sent
    large: bool
    """Of which the others hear at once."""
    at: float
    """When it was sent."""
    first: First | None = None
    """Once its answer has begun."""


class Outbox:
    """Hears what the scheduler hears and says; about 2 us a request and event."""

    def __init__(
        self,
        proxy: str,
        request: Callable[[str], Request | None],
        full: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        """`request` finds one that runs by its id; `full` is called when there is enough, or
        something large; `clock` tells seconds."""
        self.proxy = proxy
        self.run = 0
        self.number = -1
        """Of the last batch."""
        self.alone = True
        """Nobody can hear: only what is in flight is kept."""
        self._request = request
        self._full = full
        self._clock = clock
        self._count = 0
        self._numbers: dict[str, int] = {}
        self._open: dict[int, Open] = {}
        self._news: list[News] = []
        self._bytes = 0

    def __len__(self) -> int:
        """Pieces of news that wait."""
        return len(self._news)

    @property
    def running(self) -> list[int]:
        """All that this proxy has in flight."""
        return list(self._open)

    def note(self, event: Event, actions: list[Action]) -> None:
        """Take down what an event did; what peers sent is not told again."""
        if isinstance(event, events.FirstByte | events.Finished):
            self._answers(event)
        elif isinstance(event, events.Failed | events.Cancelled):
            self._fails(event)
        for action in actions:
            if type(action) is Dispatch:
                self._sends(action)

    def begin(self) -> None:
        """A new run: peers know nothing of this proxy, or nothing that is still right."""
        self.run += 1
        self.number = -1
        self._clear()

    def batch(self, *, asks: bool, everything: bool, running: bool) -> Batch:
        """The next batch; with `everything` it tells again of all that is in flight."""
        news = self._news
        if everything or self.number < 0:
            for one in self._open.values():
                news.append(one.sent)
                if one.first is not None:
                    news.append(one.first)
        self._clear()
        self.number += 1
        listed = self.running if running else None
        return Batch(self.proxy, self.run, self.number, news, asks, listed)

    def _answers(self, event: events.FirstByte | events.Finished) -> None:
        number = self._numbers.get(event.id)
        if number is None:
            return
        one = self._open[number]
        took = whole_ms(self._clock() - one.at)
        if isinstance(event, events.FirstByte):
            one.first = First(number, took)
            self._tell(one.first, ENDED_BYTES, at_once=one.large)
            return
        self._forget(event.id, number)
        news = ended(number, event, len(one.sent.prefix), took)
        self._tell(news, ENDED_BYTES + KEY_BYTES * len(news.answered))

    def _fails(self, event: events.Failed | events.Cancelled) -> None:
        number = self._numbers.get(event.id)
        if number is not None:
            self._forget(event.id, number)
            self._tell(Failed(number), ENDED_BYTES)

    def _sends(self, action: Dispatch) -> None:
        request = self._request(action.id)
        if request is None:
            return
        self._count += 1
        self._numbers[action.id] = self._count
        sent = told(self._count, action.backend, request)
        large = request.prompt_tokens - action.cached_tokens >= LARGE_TOKENS
        self._open[self._count] = Open(sent, large, self._clock())
        self._tell(sent, SENT_BYTES + KEY_BYTES * len(sent.prefix), at_once=large)

    def _forget(self, id: str, number: int) -> None:
        del self._numbers[id], self._open[number]

    def _tell(self, news: News, size: int, *, at_once: bool = False) -> None:
        if self.alone:
            return
        self._news.append(news)
        self._bytes += size
        if at_once or self._bytes >= BATCH_BYTES:
            self._full()

    def _clear(self) -> None:
        self._news = []
        self._bytes = 0
