"""Sends sessions on their way: each turn in its time, the next one when its answer is there."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from paceline.engines.model.engine import SequenceRequest
from paceline.scheduler.blocks import BLOCK_IDS
from paceline.scheduler.events import Arrived
from paceline.scheduler.types import Request
from paceline.sim.driver import Driver
from paceline.sim.workload import Session, Turn, Workload, keys

MODEL = "simulated"
"""Name of the one model that all simulated backends serve."""


class Source:
    """Feeds a driver; with `concurrency`, so many sessions are under way and no more.

    Unless `keyed`, requests come without the keys of their prompts.
    """

    def __init__(
        self,
        workload: Workload,
        truth: dict[str, SequenceRequest],
        concurrency: int | None,
        *,
        keyed: bool = True,
    ) -> None:
        self._keyed = keyed
        self._workload = workload
        self._truth = truth
        self._free = concurrency
        self._sessions: dict[str, tuple[Session, Iterator[Turn], int]] = {}
        """By the id of the turn under way: its session, what is left of it, how many have been."""
        self.turns: dict[str, Turn] = {}
        """Turns under way."""
        self._head: Session | None = None

    def begin(self, driver: Driver) -> None:
        """Start what may start now and arrange for the rest."""
        self._pull(driver)

    def ended(self, id: str, driver: Driver, *, complete: bool) -> None:
        """A request is over; after a refusal or a failure its session is over too."""
        session, turns, number = self._sessions.pop(id)
        turn = next(turns, None) if complete else None
        del self.turns[id]
        if turn is not None:
            self._send_later(session, turn, turns, number + 1, driver)
        elif self._free is not None:
            self._free += 1
            driver.at(driver.now, partial(self._pull, driver))

    def _pull(self, driver: Driver) -> None:
        """Begin every session that is due, and come back when the next one is."""
        while self._free is None or self._free > 0:
            session = self._head or next(self._workload, None)
            self._head = None
            if session is None:
                return
            if session.at > driver.now:
                self._head = session
                driver.at(session.at, partial(self._pull, driver))
                return
            self._start(session, driver)

    def _start(self, session: Session, driver: Driver) -> None:
        turns = iter(session.turns)
        turn = next(turns, None)
        if turn is None:
            return
        if self._free is not None:
            self._free -= 1
        self._send_later(session, turn, turns, 0, driver)

    def _send_later(
        self, session: Session, turn: Turn, turns: Iterator[Turn], number: int, driver: Driver
    ) -> None:
        send = partial(self._send, session, turn, turns, number, driver)
        driver.at(driver.now + turn.pause, send)

    def _send(
        self, session: Session, turn: Turn, turns: Iterator[Turn], number: int, driver: Driver
    ) -> None:
        id = session.id if number == 0 else f"{session.id}#{number}"
        self._sessions[id] = session, turns, number
        self.turns[id] = turn
        self._truth[id] = _truth(id, turn)
        driver.feed(Arrived(seen(id, turn, driver.now, keyed=self._keyed)))


def seen(id: str, turn: Turn, now: float, *, keyed: bool = True) -> Request:
    """What the scheduler may know of a turn; unless `keyed`, without the keys of its prompt."""
    return Request(
        id=id,
        arrived_at=now,
        model=MODEL,
        prefix=keys(turn.prompt) if keyed else (),
        block_tokens=float(BLOCK_IDS),
        prompt_tokens=len(turn.prompt),
        max_tokens=turn.max_tokens,
        n=turn.n,
        tenant=turn.tenant,
    )


def _truth(id: str, turn: Turn) -> SequenceRequest:
    return SequenceRequest(
        id=id,
        prompt=turn.prompt,
        output_tokens=turn.output_tokens,
        max_tokens=turn.max_tokens,
        output=turn.output or (),
        n=turn.n,
    )
