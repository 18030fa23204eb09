"""An engine model as the simulator's driver sees it: steps end at their time and bring events.

Where steps can only bring every running sequence one more token, the driver is not called back
before the last of them; who asks or comes in between finds the engine as far as it would be.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from itertools import accumulate

from paceline.engines.model.engine import Engine, EngineLoad, Output, SequenceRequest, Step
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
        rank: int = 0,
        on_step: Callable[[Step], None] | None = None,
    ) -> None:
        self._engine = engine
        self._truth = truth
        """Requests under way anywhere; this engine takes out those that end here."""
        self._frontend_time = frontend
        self._frontend: Frontend | None = None
        self._slow = busy
        self._rank = rank
        """Among engines whose steps end in the same instant."""
        self._on_step = on_step
        """Told of every step, so none is passed over."""
        self._open: dict[str, int] = {}
        """Choices of each request that have not ended."""
        self._made: dict[str, int] = {}
        """Output tokens of those that have."""
        self._busy = False
        self._step: Step | None = None
        """Under way, or the first of those that the driver waits for."""
        self._ends: list[float] = []
        """When it ends, and those after it that the driver is not called back for but the last."""
        self._waits = 0
        """Counts what the driver was asked to wait for; only the latest is wanted."""

    def start(self, request: Request, driver: Driver) -> None:
        """Take the request in at the front end."""
        if self._frontend is None:
            self._frontend = Frontend(self._frontend_time, partial(self._add, driver))
        self._frontend.submit(self._truth[request.id], driver)

    def load(self, now: float) -> EngineLoad:
        """The engine's figures as of its last step."""
        self._catch_up(now)
        return self._engine.load()

    def _add(self, driver: Driver, truth: SequenceRequest) -> None:
        """Queue it in the engine; an idle engine begins a step in the same instant."""
        self._catch_up(driver.now)
        try:
            self._engine.add(truth, driver.now)
        except ValueError:  # longer than the pool
            del self._truth[truth.id]
            driver.feed(Failed(truth.id))
            return
        self._open[truth.id] = truth.n
        if not self._busy:
            self._busy = True
            driver.at(driver.now, partial(self._begin, driver, 1.0))
        elif len(self._ends) > 1:  # it may be admitted when the step under way ends
            del self._ends[1:]
            self._wait(driver)

    def _begin(self, driver: Driver, slow: float) -> None:
        step = self._step = self._engine.step(driver.now)
        self._busy = step is not None
        if step is None:
            return
        self._ends = [step.start + slow * step.duration]
        if self._on_step is not None:
            self._on_step(step)
        else:
            further = self._engine.ahead()
            if self._slow != 1.0:
                further = [self._slow * seconds for seconds in further]
            self._ends = list(accumulate(further, initial=self._ends[0]))
        self._wait(driver)

    def _wait(self, driver: Driver) -> None:
        self._waits += 1
        driver.at(self._ends[-1], partial(self._end, driver, self._waits), self._rank)

    def _catch_up(self, now: float) -> None:
        """Play the steps that have ended by now, of those that the driver was not told of."""
        ended = bisect_right(self._ends, now)
        if ended:
            self._step = self._engine.skip(ended, self._ends[ended - 1])
            del self._ends[:ended]

    def _end(self, driver: Driver, wait: int) -> None:
        if wait != self._waits:
            return
        if len(self._ends) > 1:
            self._catch_up(self._ends[-2])
        self._ends = []
        assert self._step is not None
        for output in self._step.outputs:
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
