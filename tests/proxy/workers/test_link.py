"""Messages come whole and in order, in as few writes as there are turns of the loop."""

from __future__ import annotations

import asyncio
from typing import cast

from paceline.proxy.workers.link import Link
from paceline.proxy.workers.messages import Removed, ToParent, ToWorker, to_worker


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def close(self) -> None:
        self.closed = True


class Ends:
    """A link that says and one that hears."""

    def __init__(self) -> None:
        self.heard: list[ToWorker] = []
        self.lost = False
        self.wire = Wire()
        self.saying: Link[ToWorker, ToWorker] = Link(to_worker, self.heard.append, self._lose)
        self.hearing: Link[ToParent, ToWorker] = Link(to_worker, self.heard.append, self._lose)

    def connect(self) -> None:
        self.saying.connection_made(cast(asyncio.Transport, self.wire))

    def _lose(self) -> None:
        self.lost = True


MESSAGES = [Removed(str(number)) for number in range(5)]


async def test_what_is_said_in_one_turn_is_one_write() -> None:
    """In order, and nothing before the connection is there."""
    ends = Ends()
    for message in MESSAGES[:3]:
        ends.saying.send(message)
    await asyncio.sleep(0)
    assert ends.wire.writes == []
    ends.connect()
    for message in MESSAGES[3:]:
        ends.saying.send(message)
    await asyncio.sleep(0)
    assert len(ends.wire.writes) == 2
    for data in ends.wire.writes:
        ends.hearing.data_received(data)
    assert ends.heard == MESSAGES


async def test_pieces_are_put_together() -> None:
    """However the system cuts the bytes, each message is heard once."""
    ends = Ends()
    ends.connect()
    for message in MESSAGES:
        ends.saying.send(message)
        ends.saying.flush()
    stream = b"".join(ends.wire.writes)
    for size in (1, 7, len(stream)):
        ends.heard.clear()
        for at in range(0, len(stream), size):
            ends.hearing.data_received(stream[at : at + size])
        assert ends.heard == MESSAGES


async def test_closing_says_what_was_left_and_a_lost_peer_hears_nothing() -> None:
    """The last words go out with the end; what is said to nobody is not kept."""
    ends = Ends()
    ends.connect()
    ends.saying.send(MESSAGES[0])
    ends.saying.close()
    assert len(ends.wire.writes) == 1
    assert ends.wire.closed
    ends.saying.connection_lost(None)
    assert ends.lost
    ends.saying.send(MESSAGES[1])
    await asyncio.sleep(0)
    assert len(ends.wire.writes) == 1
