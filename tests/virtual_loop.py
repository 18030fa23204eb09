"""An asyncio loop whose clock jumps to the next timer instead of waiting for it."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


PATIENCE = 5.0
"""Real seconds to wait for a socket when no timer is set."""


class _Jump(selectors.DefaultSelector):
    """Instead of sleeping for `timeout` seconds, lets virtual time pass.

    Sockets of this very process take part: what was written to one can be read from the other at
    once, so time stands still until nobody has anything left to read.
    """

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            ready = super().select(PATIENCE)
            if not ready:
                raise RuntimeError("everybody waits and no timer is set: a deadlock")
            return ready
        self.now += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at time 0."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to completion in virtual time."""

    async def settled() -> T:
        try:
            return await main
        finally:
            await asyncio.sleep(1.0)  # sockets that were closed last are gone by then

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(settled())
