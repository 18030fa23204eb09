"""What happens to a request at an engine before its scheduler sees it: HTTP, parsing, tokens, IPC.

One API server process takes what has arrived, works it off and hands it on together; what comes
meanwhile is its next batch. So a request alone is delayed by some milliseconds and a burst by one
or two for each of its requests, but for its first, which goes ahead alone.
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


SGLANG = FrontendTime(request=0.4e-3, token=0.4e-6)
"""SGLang 0.5.16 works off such a burst in 0.3 to 0.4 s."""
FRONTENDS: dict[ModelKind, FrontendTime] = {"vllm": FrontendTime(), "sglang": SGLANG}


class Frontend:
    """One engine's API server: `deliver` gets every request when the engine gets it."""

    def __init__(self, time: FrontendTime, deliver: Callable[[SequenceRequest], None]) -> None:
        self._time = time
        self._deliver = deliver
        self._arrived: list[SequenceRequest] = []
        self._busy = False
        self._handed_on = 0.0

    def submit(self, request: SequenceRequest, driver: Driver) -> None:
        """A request came in at `driver.now`."""
        self._arrived.append(request)
        if not self._busy:
            self._busy = True
            self._take(driver)  # alone, even when others come in the same instant

    def _take(self, driver: Driver) -> None:
        batch, self._arrived = self._arrived, []
        self._busy = bool(batch)
        if batch:
            tokens = sum(len(request.prompt) for request in batch)
            work = self._time.request * len(batch) + SERIAL * self._time.token * tokens
            done = driver.now + work
            driver.at(done, partial(self._hand_on, batch, driver))

    def _hand_on(self, batch: list[SequenceRequest], driver: Driver) -> None:
        latency = self._time.latency + (self._time.burst if len(batch) > 1 else 0.0)
        for request in batch:
            ready = driver.now + latency + (1 - SERIAL) * self._time.token * len(request.prompt)
            self._handed_on = max(self._handed_on, ready)  # in order: one pipe leads to the engine
            driver.at(self._handed_on, partial(self._deliver, request))
        self._take(driver)
