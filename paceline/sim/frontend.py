"""What happens to a request at an engine before its scheduler sees it: HTTP, parsing, tokens, IPC.

One API server process works off what has arrived, in turns. vLLM's hands it on together; who comes
soon joins, who comes later is its next batch. So a request alone is delayed by some milliseconds
and a burst by one or two for each of its requests, but for its first, which goes ahead alone.
SGLang's reads all bodies that have come and then hands them on one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from msgspec import Struct

from paceline.engines.model.engine import ModelKind, SequenceRequest
from paceline.sim.driver import Driver

SERIAL = 0.5
"""Part of a prompt's token time that is work of the API server, one prompt after another; the rest
is the client's and the wire's. With it, bursts of 384 x 2,200 ids are worked off in 0.7 s on vLLM
0.26 (three recorded ones: 0.60, 0.66 and 0.73 s)."""

JOIN = 0.1
"""Seconds for which a batch takes in who comes: clients need some 30 ms to send 400 requests "at
once", and engines got all but the first of them together."""


class FrontendTime(Struct, frozen=True, kw_only=True):
    """Times of the front end in seconds; defaults measured on vLLM 0.26 and an H100's host."""

    latency: float = 0.0100
    """Of a lone request, outside the GPU."""
    token: float = 0.7e-6
    """More for each token of the prompt."""
    request: float = 1.03e-3
    """Of the API server for each request; a burst waits for its last."""
    burst: float = 0.017
    """More, once, when several came together."""
    reads: float = 1.0
    """Part of the work that is done for all who came before the first of them is handed on; the
    rest is done one by one. At 1 the first goes ahead alone."""


SGLANG = FrontendTime(request=0.4e-3, token=0.4e-6, reads=0.5)
"""SGLang 0.5.16 works off such a burst in 0.3 to 0.4 s; its first prefill begins after half of it,
and those that follow find more and more requests."""
FRONTENDS: dict[ModelKind, FrontendTime] = {"vllm": FrontendTime(), "sglang": SGLANG}


class Frontend:
    """One engine's API server: `deliver` gets every request when the engine gets it."""

    def __init__(self, time: FrontendTime, deliver: Callable[[SequenceRequest], None]) -> None:
        self._time = time
        self._deliver = deliver
        self._waiting: list[SequenceRequest] = []
        self._batch: list[SequenceRequest] = []
        """What is being worked off."""
        self._open_until = 0.0
        """Who comes before that joins the batch."""
        self._done = 0.0
        """When the batch is worked off, as it stands."""
        self._handed_on = 0.0

    def submit(self, request: SequenceRequest, driver: Driver) -> None:
        """A request came in at `driver.now`."""
        if self._time.reads < 1.0:
            self._waiting.append(request)
            if driver.now >= self._done and len(self._waiting) == 1:
                driver.at(driver.now, partial(self._read, driver))  # after all of this instant
        elif not self._batch:
            self._work_off([request], driver)  # alone, even when others come in the same instant
            self._open_until = driver.now
        elif driver.now < self._open_until:
            self._batch.append(request)
            self._done += self._work(request)
        else:
            self._waiting.append(request)

    def _read(self, driver: Driver) -> None:
        """Read all who wait, then hand them on one by one."""
        batch, self._waiting = self._waiting, []
        if not batch:
            return
        each = [self._work(request) for request in batch]
        self._done = driver.now + self._time.reads * sum(each)
        latency = self._time.latency + (self._time.burst if len(batch) > 1 else 0.0)
        for request, work in zip(batch, each, strict=True):
            self._done += (1 - self._time.reads) * work
            self._hand_on(request, self._done + latency, driver)
        driver.at(self._done, partial(self._read, driver))

    def _hand_on(self, request: SequenceRequest, at: float, driver: Driver) -> None:
        ready = at + (1 - SERIAL) * self._time.token * len(request.prompt)
        self._handed_on = max(self._handed_on, ready)  # in order: one pipe leads to the engine
        driver.at(self._handed_on, partial(self._deliver, request))

    def _work(self, request: SequenceRequest) -> float:
        return self._time.request + SERIAL * self._time.token * len(request.prompt)

    def _work_off(self, batch: list[SequenceRequest], driver: Driver) -> None:
        self._batch = batch
        self._open_until = driver.now + JOIN
        self._done = driver.now + sum(map(self._work, batch))
        driver.at(self._done, partial(self._end, driver))

    def _end(self, driver: Driver) -> None:
        if self._done > driver.now:  # somebody joined
            driver.at(self._done, partial(self._end, driver))
            return
        batch, self._batch = self._batch, []
        latency = self._time.latency + (self._time.burst if len(batch) > 1 else 0.0)
        for request in batch:
            self._hand_on(request, driver.now + latency, driver)
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self._work_off(waiting, driver)
