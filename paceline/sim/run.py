"""One run: a workload, a scheduler with its policy or none, and engines, in virtual time."""

from __future__ import annotations

from functools import partial
from typing import Any

from msgspec import Struct, field

from paceline.engines.model.build import build_engine
from paceline.engines.model.engine import EngineConfig, EngineLoad, SequenceRequest, Step
from paceline.policies.registry import load
from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.events import (
    Action,
    Arrived,
    BackendChanged,
    Dispatch,
    Event,
    Failed,
    Finished,
    LoadReported,
    Reject,
)
from paceline.scheduler.scheduler import Scheduler
from paceline.scheduler.types import BackendSpec
from paceline.sim.direct import RoundRobin
from paceline.sim.driver import Decider, Driver
from paceline.sim.engine import SimulatedEngine
from paceline.sim.frontend import FRONTENDS, FrontendTime
from paceline.sim.record import Recorder, Row, Sample
from paceline.sim.source import MODEL, Source
from paceline.sim.workload import Workload

NO_PROXY = "no-proxy"
"""In place of a policy's name: every request goes to the next backend at once."""


class RunConfig(Struct, frozen=True, kw_only=True):
    """All that one run depends on, but for its workload."""

    policy: str = "lpm"
    """An installed policy, `module:Class`, or `NO_PROXY`."""
    settings: dict[str, Any] = field(default_factory=dict)
    """The policy's own."""
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    backends: int = 1
    """Engines, all alike."""
    frontend: FrontendTime | None = None
    """Of every engine; None for what is usual for its kind."""
    busy: float = 1.0
    """How much longer a step takes that follows another at once than one after a pause: a GPU that
    never rests clocks lower. Presets have it in their `s`."""
    poll_seconds: float = 0.5
    """How often a busy engine is asked for its load; what the scheduler knows is as old as that."""
    concurrency: int | None = None
    """Sessions under way at once; None for as many as arrive."""
    seed: int = 0
    """Of the scheduler's random choices."""
    keep_steps: bool = False
    """Whether the engines' steps are kept, for a timeline."""


class RunResult(Struct, kw_only=True):
    """What came of it."""

    rows: list[Row]
    samples: list[Sample]
    steps: dict[str, list[Step]]
    """By backend, where they were asked for; without their outputs."""


def simulate(
    config: RunConfig,
    workload: Workload,
    decides: Decider | None = None,
    *,
    sampled: bool = True,
) -> RunResult:
    """Run until every request has ended; PolicyError or SettingError about the policy.

    `decides` stands in for the scheduler that `config` describes. Without `sampled` the result has
    no samples, which take more memory than its rows; all else is the same.
    """
    run = _Run(config, workload, decides or decider(config), sampled=sampled)
    run.play()
    return RunResult(rows=run.recorder.rows, samples=run.recorder.samples, steps=run.steps)


def decider(config: RunConfig) -> Decider:
    """The scheduler with the policy asked for, or what stands for no proxy at all."""
    if config.policy == NO_PROXY:
        return RoundRobin()
    return Scheduler(config.scheduler, load(config.policy, config.settings), config.seed)


class _Run:
    """Wires source, scheduler, engines and recorder together; the driver's observer."""

    def __init__(
        self, config: RunConfig, workload: Workload, decides: Decider, *, sampled: bool
    ) -> None:
        self.recorder = Recorder()
        self.steps: dict[str, list[Step]] = {}
        self._config = config
        truth: dict[str, SequenceRequest] = {}
        direct = isinstance(decides, RoundRobin)  # who looks at neither prompts nor loads
        self._sampled = sampled
        self._polls = sampled or not direct
        self._source = Source(workload, truth, config.concurrency, keyed=not direct)
        self._engines = {f"b{i}": self._engine(f"b{i}", truth) for i in range(config.backends)}
        self._in_flight = dict.fromkeys(self._engines, 0)
        self._polled: set[str] = set()
        """Backends with a poll due."""
        self._where: dict[str, str] = {}
        """Backends of the requests in flight."""
        self._driver = Driver(decides, self._engines, self)

    def play(self) -> None:
        """From the first arrival to the last token."""
        for id in self._engines:
            self._driver.feed(BackendChanged(self._spec(id)))
        self._source.begin(self._driver)
        self._driver.run()

    def fed(self, event: Event, now: float) -> None:
        """Record it, and let the next turn follow one that ended."""
        if isinstance(event, Arrived):
            self.recorder.arrived(event, self._source.turns[event.request.id], now)
            return
        self.recorder.fed(event, now)
        if isinstance(event, Finished | Failed):
            self._in_flight[self._where.pop(event.id)] -= 1
            self._source.ended(event.id, self._driver, complete=isinstance(event, Finished))

    def decided(self, action: Action, now: float) -> None:
        """Record it; a backend that was idle is asked for its load from now on."""
        self.recorder.decided(action, now)
        if isinstance(action, Reject):
            self._source.ended(action.id, self._driver, complete=False)
        elif isinstance(action, Dispatch):
            self._where[action.id] = action.backend
            self._in_flight[action.backend] += 1
            if self._polls and action.backend not in self._polled:
                self._poll_later(action.backend)

    def _engine(self, id: str, truth: dict[str, SequenceRequest]) -> SimulatedEngine:
        on_step = partial(self._keep, self.steps.setdefault(id, []))
        return SimulatedEngine(
            build_engine(self._config.engine),
            truth,
            self._config.frontend or FRONTENDS[self._config.engine.kind],
            self._config.busy,
            int(id[1:]),
            on_step if self._config.keep_steps else None,
        )

    @staticmethod
    def _keep(kept: list[Step], step: Step) -> None:
        kept.append(Step(step.start, step.duration, step.prefill_tokens, step.decodes, []))

    def _spec(self, id: str) -> BackendSpec:
        engine = self._config.engine
        return BackendSpec(
            id=id,
            models=(MODEL,),
            kv_tokens=engine.kv_tokens,
            chunk_tokens=engine.chunk_tokens,
            max_running=engine.max_running,
            leader_first=engine.kind == "sglang",
        )

    def _poll_later(self, id: str) -> None:
        self._polled.add(id)
        self._driver.at(self._driver.now + self._config.poll_seconds, partial(self._poll, id))

    def _poll(self, id: str) -> None:
        """Report the engine's load as of its last step, as its metrics page would."""
        self._polled.discard(id)
        now = self._driver.now
        load = self._engines[id].load(now)
        if self._sampled:
            self._sample(id, load, now)
        if self._in_flight[id]:
            self._poll_later(id)
            self._driver.feed(LoadReported(id, load.running, load.waiting, now))

    def _sample(self, id: str, load: EngineLoad, now: float) -> None:
        self.recorder.samples.append(
            Sample(
                now,
                id,
                self.recorder.queued,
                load.running,
                load.waiting,
                load.kv_used,
                load.hit_tokens,
                load.query_tokens,
            )
        )
