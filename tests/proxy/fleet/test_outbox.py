"""A proxy tells what it sent and how that went on, and nothing else."""

from __future__ import annotations

import pytest

from paceline.proxy.fleet.messages import Batch, Ended, Failed, First, News, Sent
from paceline.proxy.fleet.outbox import Outbox
from paceline.scheduler import events
from paceline.scheduler.events import Cancelled, Dispatch, Event, Finished, FirstByte, Reject
from paceline.scheduler.types import Request, Usage
from tests.scheduler.dialogue import request


class Told:
    """An outbox, its requests, and whether it wants to be emptied."""

    def __init__(self) -> None:
        self.requests: dict[str, Request] = {}
        self.full = 0
        self.now = 0.0
        self.outbox = Outbox("p", self.requests.get, self._fill, lambda: self.now)
        self.outbox.alone = False

    def send(
        self, id: str, prefix: str = "ab", event: Event | None = None, cached: int = 0
    ) -> None:
        """A request is dispatched."""
        self.requests[id] = request(id, prefix)
        arrived = event or events.Arrived(self.requests[id])
        self.outbox.note(arrived, [Dispatch(id, "b", cached, 0.0, "direct")])

    def batch(self, *, everything: bool = False) -> Batch:
        return self.outbox.batch(asks=False, everything=everything, running=False)

    def kinds(self) -> list[str]:
        return [_read(news) for news in self.batch().news]

    def _fill(self) -> None:
        self.full += 1


def _read(news: News) -> str:
    return f"{type(news).__name__}{news.number}"


@pytest.fixture
def told() -> Told:
    """After the first batch, which has all there is."""
    told = Told()
    assert told.batch().news == []
    return told


def test_a_requests_life_is_told(told: Told) -> None:
    """Sent, begun, ended: in this order, once, and how long each took."""
    told.send("r")
    told.now = 0.06
    told.outbox.note(FirstByte("r"), [])
    told.now = 0.5
    usage = Usage(output_tokens=5)
    told.outbox.note(Finished("r", usage, (*told.requests["r"].prefix, 7)), [])
    sent, first, end = told.batch().news
    assert isinstance(sent, Sent)
    assert (sent.backend, sent.prefix) == ("b", told.requests["r"].prefix)
    assert first == First(1, 60)
    assert end == Ended(1, None, 5, None, 500, (7,))
    assert told.kinds() == []
    assert told.outbox.running == []


def test_what_waits_or_is_refused_is_nobodys_business(told: Told) -> None:
    """Nor what peers sent: that is told by them."""
    told.outbox.note(events.Arrived(request("w")), [])
    told.outbox.note(Cancelled("w"), [])
    told.outbox.note(events.Arrived(request("x")), [Reject("x", "queue_full")])
    told.outbox.note(FirstByte("q.0.1"), [])
    told.outbox.note(events.Failed("q.0.1"), [])
    assert told.kinds() == []


def test_a_retry_leaves_one_backend_for_another(told: Told) -> None:
    """It has a new number there."""
    told.send("r")
    told.send("r", event=events.Failed("r", retry=True))
    assert told.kinds() == ["Sent1", "Failed1", "Sent2"]
    assert told.outbox.running == [2]


def test_a_client_that_leaves_ends_its_request(told: Told) -> None:
    """Without an answer, nothing of it is believed to be cached."""
    told.send("r")
    told.outbox.note(Cancelled("r"), [])
    assert told.batch().news[-1] == Failed(1)


def test_whoever_asks_is_told_all_that_runs(told: Told) -> None:
    """After the news that waited, which others need; what has begun is said."""
    told.send("r")
    told.outbox.note(FirstByte("r"), [])
    told.send("s")
    told.kinds()
    told.send("t")
    batch = told.batch(everything=True)
    assert list(map(_read, batch.news)) == ["Sent3", "Sent1", "First1", "Sent2", "Sent3"]


def test_a_new_run_begins_with_all_that_runs(told: Told) -> None:
    """Numbers begin again, and what was not told is not told any more."""
    told.send("r")
    told.outbox.begin()
    batch = told.batch()
    assert (batch.run, batch.number) == (1, 0)
    assert list(map(_read, batch.news)) == ["Sent1"]
    assert told.batch().number == 1


def test_alone_it_keeps_what_runs_only(told: Told) -> None:
    """A store that is away for a day must not cost memory."""
    told.outbox.alone = True
    for number in range(100):
        told.send(f"r{number}")
        told.outbox.note(Finished(f"r{number}"), [])
    assert len(told.outbox) == 0
    assert told.outbox.running == []


def test_a_large_batch_goes_early(told: Told) -> None:
    """64 kB are some 400 requests of 10 blocks."""
    for number in range(500):
        assert not told.full or number > 350
        told.send(f"r{number}", "abcdefghij", cached=1000)
    assert told.full


def test_large_work_is_told_at_once(told: Told) -> None:
    """That it was sent and that it is computed; what is small or cached waits for its time."""
    told.send("small")
    told.outbox.note(FirstByte("small"), [])
    assert told.full == 0
    told.send("large", "abcdef")
    assert told.full == 1
    told.outbox.note(FirstByte("large"), [])
    assert told.full == 2
    told.outbox.note(Finished("large"), [])
    told.send("warm", "abcdef", cached=500)
    assert told.full == 2
