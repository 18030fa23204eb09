"""An engine model as the simulator's driver sees it: steps end at their time and bring events."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import partial

from paceline.engines.model.engine import Engine, Output, SequenceRequest, Step
from paceline.scheduler.events import Failed, Finished, FirstByte
from paceline.scheduler.types import Request, Usage
from paceline.sim.driver import Driver
from paceline.sim.frontend import Frontend, FrontendTime
from paceline.sim.workload import keys


class SimulatedEngine:
    """Plays one engine model; the true requests, with their output lengths, stay on this side."""

    def __init__(
        self,
        engine: Engine,
        truth: dict[str, SequenceRequest],
        frontend: FrontendTime,
        busy: float = 1.0,
        on_step: Callable[[Step], None] | None = None,
    ) -> None:
        self.engine = engine
        self._truth = truth
        """Requests under way anywhere; this engine takes out those that end here."""
        self._frontend_time = frontend
        self._frontend: Frontend | None = None
        self._slow = busy
        self._on_step = on_step
        self._open: dict[str, int] = {}
        """Choices of each request that have not ended."""
        self._made: dict[str, int] = {}
        """Output tokens of those that have."""
        self._busy = False

    def start(self, request: Request, driver: Driver) -> None:
        """Take the request in at the front end."""
        if self._frontend is None:
            self._frontend = Frontend(self._frontend_time, partial(self._add, driver))
        self._frontend.submit(self._truth[request.id], driver)

    def _add(self, driver: Driver, truth: SequenceRequest) -> None:
        """Queue it in the engine; an idle engine begins a step in the same instant."""
        try:
            self.engine.add(truth, driver.now)
        except ValueError:  # longer than the pool
            del self._truth[truth.id]
            driver.feed(Failed(truth.id))
            return
        self._open[truth.id] = truth.n
        if not self._busy:
            self._busy = True
            driver.at(driver.now, partial(self._begin, driver, 1.0))

    def _begin(self, driver: Driver, slow: float) -> None:
        step = self.engine.step(driver.now)
        self._busy = step is not None
        if step is not None:
            if self._on_step is not None:
                self._on_step(step)
            driver.at(step.start + slow * step.duration, partial(self._end, step, driver))

    def _end(self, step: Step, driver: Driver) -> None:
        for output in step.outputs:
            if output.tokens == 1 and output.index == 0:
                driver.feed(FirstByte(output.request_id))
            if output.finished:
                self._end_choice(output, driver)
        self._begin(driver, self._slow)

    def _end_choice(self, output: Output, driver: Driver) -> None:
        id = output.request_id
        self._open[id] -= 1
        self._made[id] = self._made.get(id, 0) + output.tokens
        if self._open[id]:
            return
        del self._open[id]
        truth = self._truth.pop(id)
        usage = Usage(
            prompt_tokens=len(truth.prompt),
            output_tokens=self._made.pop(id),
            cached_tokens=output.cached_tokens,
        )
        driver.feed(Finished(id, usage, _conversation(truth)))


def _conversation(truth: SequenceRequest) -> tuple[int, ...]:
    """The blocks with which the next turn's prompt begins, where there may be one."""
    if not truth.output or truth.n > 1:
        return ()
    return keys(array("I", truth.prompt) + array("I", truth.output))
