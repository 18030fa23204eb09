"""What happens to a request at an engine before its scheduler sees it: HTTP, parsing, tokens, IPC.

One API server process takes what has arrived, works it off and hands it on together; what comes
meanwhile is its next batch. So a request alone is delayed by some milliseconds and a burst by about
one for each of its requests.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from msgspec import Struct

from paceline.engines.model.engine import SequenceRequest
from paceline.sim.driver import Driver


class FrontendTime(Struct, frozen=True, kw_only=True):
    """Times of the front end in seconds; defaults measured on vLLM 0.26 and an H100's host."""

    latency: float = 0.0100
    """Of a lone request, outside the GPU."""
    token: float = 0.7e-6
    """More for each token of the prompt."""
    request: float = 1.03e-3
    """Of the API server for each request; a burst waits for its last."""
    burst: float = 0.017
    """More, once, when several came together: 384 at once start after 28 ms + 1.03 ms each."""


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
            driver.at(
                driver.now, partial(self._take, driver)
            )  # after all that come in this instant

    def _take(self, driver: Driver) -> None:
        batch, self._arrived = self._arrived, []
        self._busy = bool(batch)
        if batch:
            done = driver.now + self._time.request * len(batch)
            driver.at(done, partial(self._hand_on, batch, driver))

    def _hand_on(self, batch: list[SequenceRequest], driver: Driver) -> None:
        latency = self._time.latency + (self._time.burst if len(batch) > 1 else 0.0)
        for request in batch:
            ready = driver.now + latency + self._time.token * len(request.prompt)
            self._handed_on = max(self._handed_on, ready)  # in order: one pipe leads to the engine
            driver.at(self._handed_on, partial(self._deliver, request))
        self._take(driver)
