"""An engine model as the simulator's driver sees it: steps end at their time and bring events."""

from __future__ import annotations

from functools import partial

from paceline.engines.model.engine import Engine, Output, SequenceRequest, Step
from paceline.scheduler.events import Event, Finished, FirstByte
from paceline.scheduler.types import Request, Usage
from paceline.sim.driver import Driver


class SimulatedEngine:
    """Plays one engine model; the true requests, with their output lengths, stay on this side."""

    def __init__(self, engine: Engine, truth: dict[str, SequenceRequest]) -> None:
        self.engine = engine
        self._truth = truth
        self._open: dict[str, int] = {}
        """Choices of each request that have not ended."""
        self._busy = False

    def start(self, request: Request, driver: Driver) -> None:
        """Queue the request in the engine; an idle engine begins a step in the same instant."""
        truth = self._truth[request.id]
        self._open[request.id] = truth.n
        self.engine.add(truth, driver.now)
        if not self._busy:
            self._busy = True
            driver.at(driver.now, partial(self._begin, driver))

    def _begin(self, driver: Driver) -> None:
        step = self.engine.step(driver.now)
        self._busy = step is not None
        if step is not None:
            driver.at(step.start + step.duration, partial(self._end, step, driver))

    def _end(self, step: Step, driver: Driver) -> None:
        for output in step.outputs:
            for event in self._events(output):
                driver.feed(event)
        self._begin(driver)

    def _events(self, output: Output) -> list[Event]:
        events: list[Event] = []
        truth = self._truth[output.request_id]
        if output.tokens == 1 and output.index == 0:
            events.append(FirstByte(output.request_id))
        if output.finished:
            self._open[output.request_id] -= 1
            if not self._open[output.request_id]:
                del self._open[output.request_id]
                usage = Usage(
                    prompt_tokens=len(truth.prompt),
                    output_tokens=truth.output_tokens * truth.n,
                    cached_tokens=output.cached_tokens,
                )
                events.append(Finished(output.request_id, usage))
        return events
