"""Workloads, and one run of one of them in virtual time: the real scheduler on engine models."""

from __future__ import annotations

import random
from array import array
from dataclasses import dataclass

from bench.load import Result
from paceline.engines.model.build import build_engine
from paceline.engines.model.engine import EngineConfig, SequenceRequest
from paceline.engines.model.presets import PRESETS
from paceline.scheduler.blocks import BLOCK_IDS, chain, cut
from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.events import (
    Action,
    Arrived,
    BackendChanged,
    Dispatch,
    Event,
    Finished,
    FirstByte,
)
from paceline.scheduler.policy import Policy
from paceline.scheduler.scheduler import Scheduler
from paceline.scheduler.types import BackendSpec, Request
from paceline.sim.driver import Driver
from paceline.sim.engine import SimulatedEngine

KV_TOKENS = 65_536
PRESET = {"vllm": PRESETS["llama-3.1-8b-h100"], "sglang": PRESETS["llama-3.1-8b-h100-triton"]}
"""As on the H100 with which the models were compared (tests/engines/model/test_measured.py)."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Families of prompts: a shared prefix each, and tails of their own."""

    families: int
    members: int
    shared: int
    unique: int
    output: int
    rate: float | None = None
    """Requests a second (Poisson); None for all at once."""
    limit: int | None = None
    tenants: tuple[str, ...] = ("",)
    """Families belong to them in turn; who is listed twice has twice as many."""


WORKLOADS = {
    "many": Workload(64, 6, 2000, 200, 16),
    "long": Workload(24, 6, 6000, 100, 64),
    "fit": Workload(8, 48, 2000, 200, 16),
    "p45": Workload(64, 10, 2000, 200, 32, 45.0, 600),
    "p20": Workload(64, 10, 2000, 200, 32, 20.0, 600),
}


@dataclass(frozen=True, slots=True)
class Played:
    """What came of one run."""

    results: list[Result]
    hit_rate: float
    served: dict[str, float]
    """Prompt and output tokens by tenant that were done when the first tenant had no more left."""


def play(
    workload: Workload, kind: str, policy: Policy | None, replicas: int = 1, seed: int = 7
) -> Played:
    """One run; without a policy requests go straight to the replicas in turn."""
    requests, truth = generate(workload, seed)
    config = EngineConfig(kind=kind, time=getattr(PRESET[kind], kind), kv_tokens=KV_TOKENS)  # type: ignore[arg-type]
    engines = {f"b{n}": SimulatedEngine(build_engine(config), truth) for n in range(replicas)}
    watch = Watch(Direct(replicas) if policy is None else Scheduler(SchedulerConfig(), policy))
    driver = Driver(watch, dict(engines))  # type: ignore[arg-type]
    for id in engines:
        late = kind == "sglang"
        spec = BackendSpec(id=id, models=("m",), kv_tokens=KV_TOKENS, leader_first=late)
        driver.feed(BackendChanged(spec))
    driver.arrive(requests)
    driver.run()
    loads = [simulated.engine.load() for simulated in engines.values()]
    hit = sum(load.hit_tokens for load in loads) / sum(load.query_tokens for load in loads)
    return Played([watch.result(r) for r in requests], hit, _served(requests, watch))


def generate(workload: Workload, seed: int) -> tuple[list[Request], dict[str, SequenceRequest]]:
    """The requests in order of arrival, and what the engines are told of them."""
    rng = random.Random(seed)
    w = workload
    prefixes = [[rng.randrange(32_000) for _ in range(w.shared)] for _ in range(w.families)]
    order = [family for family in range(w.families) for _ in range(w.members)]
    rng.shuffle(order)
    now = 0.0
    requests, truth = [], {}
    for number, family in enumerate(order[: w.limit]):
        now += rng.expovariate(w.rate) if w.rate else 0.0
        prompt = array("I", prefixes[family] + [rng.randrange(32_000) for _ in range(w.unique)])
        id = f"{number:06d}"
        truth[id] = SequenceRequest(
            id=id, prompt=prompt, output_tokens=w.output, max_tokens=w.output
        )
        requests.append(
            Request(
                id=id,
                arrived_at=now,
                model="m",
                prefix=chain(b"bench", cut(prompt.tobytes(), BLOCK_IDS * prompt.itemsize)),
                block_tokens=float(BLOCK_IDS),
                prompt_tokens=len(prompt),
                max_tokens=w.output,
                tenant=w.tenants[family % len(w.tenants)],
            )
        )
    return requests, truth


class Direct:
    """In place of the scheduler: dispatch at once, to each replica in turn."""

    def __init__(self, replicas: int) -> None:
        self._replicas = replicas
        self._count = 0

    def handle(self, event: Event, now: float) -> list[Action]:
        """Answer an arrival with its dispatch."""
        if not isinstance(event, Arrived):
            return []
        self._count += 1
        return [Dispatch(event.request.id, f"b{self._count % self._replicas}", 0, 0.0, "")]

    def deadline(self) -> float | None:
        """Never."""
        return None


class Watch:
    """A scheduler, with the times of first bytes and ends noted on the way."""

    def __init__(self, scheduler: Scheduler | Direct) -> None:
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}
        self.cached: dict[str, int] = {}
        self._scheduler = scheduler

    def handle(self, event: Event, now: float) -> list[Action]:
        """Note and pass on."""
        match event:
            case FirstByte(id):
                self.first[id] = now
            case Finished(id, usage):
                self.last[id] = now
                self.cached[id] = usage.cached_tokens or 0
            case _:
                pass
        return self._scheduler.handle(event, now)

    def deadline(self) -> float | None:
        """The scheduler's."""
        return self._scheduler.deadline()

    def result(self, request: Request) -> Result:
        """One request's life."""
        id = request.id
        times = (request.arrived_at, self.first[id], self.last[id])
        return Result(*times, request.prompt_tokens, self.cached[id])


def _served(requests: list[Request], watch: Watch) -> dict[str, float]:
    ends: dict[str, float] = {}
    for request in requests:
        ends[request.tenant] = max(ends.get(request.tenant, 0.0), watch.last[request.id])
    until = min(ends.values())
    served = dict.fromkeys(ends, 0.0)
    for request in requests:
        if watch.last[request.id] <= until:
            served[request.tenant] += request.prompt_tokens + (request.max_tokens or 0)
    return served


def jain(shares: list[float]) -> float:
    """Jain's index of fairness: 1 when all get the same, 1/n when one gets all."""
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))
