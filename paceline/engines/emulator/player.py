"""Plays an engine model in real time: begins steps while there is work, hands out what they bring.

Every step is timed from the scheduled end of the one before, not from when the loop came round to
it, so that late timers are made up for and the modelled rate holds on average, however short the
steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from paceline.engines.model.engine import Engine, EngineLoad, Output, SequenceRequest, Step


class Aborted(Exception):
    """Somebody else ended the request."""


class Inbox:
    """What has come for one HTTP request since it last looked."""

    def __init__(self) -> None:
        self._outputs: list[Output] = []
        self._aborted = False
        self._filled = asyncio.Event()

    def put(self, output: Output) -> None:
        """Leave one token."""
        self._outputs.append(output)
        self._filled.set()

    def abort(self) -> None:
        """Make `take` raise."""
        self._aborted = True
        self._filled.set()

    async def take(self) -> list[Output]:
        """Wait for tokens and take all that are there; Aborted when none will come."""
        await self._filled.wait()
        if self._aborted:
            raise Aborted
        self._filled.clear()
        outputs, self._outputs = self._outputs, []
        return outputs


class Player:
    """Drives `engine`, whose clock runs `speed` times as fast as the event loop's."""

    def __init__(self, engine: Engine, speed: float) -> None:
        self._engine = engine
        self._speed = speed
        self._inboxes: dict[str, Inbox] = {}
        self._timer: asyncio.Handle | None = None

    @contextmanager
    def play(self, requests: Sequence[SequenceRequest]) -> Iterator[Inbox]:
        """Submit `requests` and, on leaving, abort those that have not ended.

        ValueError, and none is submitted, when the engine refuses one.
        """
        inbox = Inbox()
        submitted: list[str] = []
        try:
            for request in requests:
                self._submit(request, inbox)
                submitted.append(request.id)
            yield inbox
        finally:
            for request_id in submitted:
                self._inboxes.pop(request_id, None)
                self._engine.abort(request_id)

    def abort(self, prefix: str) -> None:
        """End every request whose id starts with `prefix`; their inboxes raise."""
        for request_id in [key for key in self._inboxes if key.startswith(prefix)]:
            self._engine.abort(request_id)
            self._inboxes.pop(request_id).abort()

    def load(self) -> EngineLoad:
        """The engine's figures."""
        return self._engine.load()

    def flush_cache(self) -> bool:
        """Empty the prefix cache unless the engine is busy."""
        return self._engine.flush_cache()

    def close(self) -> None:
        """Stop the clock."""
        if self._timer is not None:
            self._timer.cancel()

    def _submit(self, request: SequenceRequest, inbox: Inbox) -> None:
        loop = asyncio.get_running_loop()
        self._engine.add(request, loop.time() * self._speed)
        self._inboxes[request.id] = inbox
        if self._timer is None:
            self._timer = loop.call_soon(self._begin, loop.time())

    def _begin(self, at: float) -> None:
        step = self._engine.step(at * self._speed)
        if step is None:
            self._timer = None
            return
        end = at + step.duration / self._speed
        self._timer = asyncio.get_running_loop().call_at(end, self._end, step, end)

    def _end(self, step: Step, end: float) -> None:
        for output in step.outputs:
            inbox = self._inboxes.get(output.request_id)
            if inbox is not None:
                inbox.put(output)
        self._begin(end)
