"""Workloads, and one run of one of them in virtual time: the real scheduler on engine models."""

from __future__ import annotations

import random
from array import array
from dataclasses import dataclass

from bench.load import Result
from paceline.engines.model.engine import EngineConfig, ModelKind
from paceline.engines.model.presets import PRESETS, Preset
from paceline.sim.record import Row
from paceline.sim.run import RunConfig, simulate
from paceline.sim.workload import Session, Turn, single
from paceline.sim.workload import Workload as Sessions

KV_TOKENS = 65_536
PRESET: dict[ModelKind, Preset] = {
    "vllm": PRESETS["llama-3.1-8b-h100"],
    "sglang": PRESETS["llama-3.1-8b-h100-triton"],
}
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
    workload: Workload, kind: ModelKind, policy: str, replicas: int = 1, seed: int = 7
) -> Played:
    """One run under a policy, or `run.NO_PROXY`: requests go to the replicas in turn."""
    time = PRESET[kind].vllm if kind == "vllm" else PRESET[kind].sglang
    engine = EngineConfig(kind=kind, time=time, kv_tokens=KV_TOKENS)
    config = RunConfig(policy=policy, engine=engine, backends=replicas)
    rows = simulate(config, sessions(workload, seed)).rows
    hit = sum(row.cached for row in rows) / sum(row.prompt for row in rows)
    return Played([_result(row) for row in rows], hit, _served(rows))


def sessions(w: Workload, seed: int) -> Sessions:
    """The requests in order of arrival."""
    rng = random.Random(seed)
    prefixes = [[rng.randrange(32_000) for _ in range(w.shared)] for _ in range(w.families)]
    order = [family for family in range(w.families) for _ in range(w.members)]
    rng.shuffle(order)
    now = 0.0
    for number, family in enumerate(order[: w.limit]):
        now += rng.expovariate(w.rate) if w.rate else 0.0
        tail = [rng.randrange(32_000) for _ in range(w.unique)]
        tenant = w.tenants[family % len(w.tenants)]
        yield _session(f"{number:06d}", prefixes[family] + tail, w.output, tenant, now)


def _session(id: str, prompt: list[int], output: int, tenant: str, at: float) -> Session:
    ids = array("I", prompt)
    turn = Turn(prompt=ids, output_tokens=output, max_tokens=output, tenant=tenant)
    return single(id, turn, at)


def _result(row: Row) -> Result:
    assert row.first is not None
    assert row.last is not None
    return Result(row.arrival, row.first, row.last, row.prompt, row.cached)


def _served(rows: list[Row]) -> dict[str, float]:
    ends: dict[str, float] = {}
    for row in rows:
        ends[row.tenant] = max(ends.get(row.tenant, 0.0), row.last or 0.0)
    until = min(ends.values())
    served = dict.fromkeys(ends, 0.0)
    for row in rows:
        if (row.last or 0.0) <= until:
            served[row.tenant] += row.prompt + row.out
    return served


def jain(shares: list[float]) -> float:
    """Jain's index of fairness: 1 when all get the same, 1/n when one gets all."""
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))
