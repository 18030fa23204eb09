"""Lets requests wait under a policy and reads the order in which one backend gets them."""

from __future__ import annotations

from paceline.scheduler.policy import Policy
from tests.scheduler.dialogue import Talk, backend


class LineUp:
    """A backend that takes one request at a time; `busy`, with the prompt ABCD, runs from 0 s."""

    def __init__(self, policy: Policy) -> None:
        self.talk = Talk(backend(kv_tokens=None, chunk_tokens=1), policy=policy)
        self._running = self._read(self.talk.arrive("busy", "ABCD"))
        assert self._running == ["busy"]

    def wait(self, id: str, prefix: str = "", at: float = 0.1, **more: object) -> None:
        """A request arrives and has to wait."""
        assert self.talk.arrive(id, prefix, at=at, **more) == ""

    def next(self, at: float) -> str:
        """The running request ends with 20 tokens; who goes now."""
        (done,) = self._running
        self._running = self._read(self.talk.first_byte(done, at))
        self.talk.finish(done, at)
        return " ".join(self._running)

    def all(self, at: float) -> str:
        """Everybody in order, the same instant for all."""
        order = []
        while self._running:
            order.append(self.next(at))
        return " ".join(order[:-1])

    def _read(self, answers: str) -> list[str]:
        return [answer.removesuffix("->b") for answer in answers.split()]
