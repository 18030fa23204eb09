"""Writes of one turn of the loop leave together, in order; none waits for a turn without use."""

from __future__ import annotations

import asyncio

from paceline.proxy.http.outbox import ALONE, LARGE, MOST, Outbox


class Wire(asyncio.Transport):
    """A transport that notes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.gone = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.gone


def outbox() -> Outbox:
    return Outbox(asyncio.get_running_loop())


async def turn() -> None:
    """Let everything run that is due in this turn of the loop."""
    await asyncio.sleep(0)


async def test_what_is_written_in_one_turn_leaves_at_its_end_and_in_order() -> None:
    """Two transports, three writes: nothing before the turn ends, each in its order after it."""
    box, one, two = outbox(), Wire(), Wire()
    box.write(one, b"a")
    box.write(two, b"b")
    box.write(one, b"c")
    assert one.written == two.written == []
    await turn()
    assert one.written == [b"a", b"c"]
    assert two.written == [b"b"]


async def test_the_first_of_many_does_not_wait_for_all() -> None:
    """A long turn sends what it has whenever `MOST` have gathered."""
    box, wire = outbox(), Wire()
    for _ in range(MOST - 1):
        box.write(wire, b"x")
    assert wire.written == []
    box.write(wire, b"last")
    assert wire.written == [b"x"] * (MOST - 1) + [b"last"]


async def test_a_write_without_company_is_the_last_that_waits() -> None:
    """After a turn with one write the next ones are made at once, then it is tried again."""
    box, wire = outbox(), Wire()
    box.write(wire, b"alone")
    await turn()
    for count in range(ALONE):
        box.write(wire, b"at once")
        assert len(wire.written) == 2 + count
    box.write(wire, b"waits")
    assert wire.written[-1] == b"at once"
    await turn()
    assert wire.written[-1] == b"waits"


async def test_a_large_write_waits_for_nothing_and_overtakes_nothing() -> None:
    """Whoever writes much sees at once whether it was taken; what came before goes before it."""
    box, wire = outbox(), Wire()
    large = bytes(LARGE + 1)
    box.write(wire, b"before")
    box.write(wire, large)
    assert wire.written == [b"before", large]


async def test_who_closes_sends_what_waits_first() -> None:
    """`flush` makes the waiting writes now, and the end of the turn does not repeat them."""
    box, wire = outbox(), Wire()
    box.write(wire, b"goodbye")
    box.flush()
    assert wire.written == [b"goodbye"]
    await turn()
    assert wire.written == [b"goodbye"]


async def test_a_transport_that_closes_meanwhile_is_left_alone() -> None:
    """Its bytes are dropped, those of the others are not."""
    box, gone, here = outbox(), Wire(), Wire()
    box.write(gone, b"for nobody")
    box.write(here, b"for you")
    gone.gone = True
    await turn()
    assert gone.written == []
    assert here.written == [b"for you"]


async def test_what_is_written_at_once_to_a_transport_that_closes_is_dropped() -> None:
    """Callers need not ask whether it closes: no write reaches it, be it small or large."""
    box, wire = outbox(), Wire()
    box.write(wire, b"alone")
    await turn()
    wire.gone = True
    for _ in range(ALONE):
        box.write(wire, b"at once")
    box.write(wire, bytes(LARGE + 1))
    assert wire.written == [b"alone"]
