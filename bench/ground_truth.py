"""Simulated against real: 300 ShareGPT requests at 10/s that vLLM 0.19 served on two GPUs.

Recorded by LLMServingSim's authors (MIT), with the lengths pinned. One GPU is simulated with a
preset and one scalar, fitted to the mean TPOT; the other, whose pool is so small that it preempts
224 times, from tables of its kernels, and nothing is fitted.
"""

from __future__ import annotations

import gzip
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct, structs

from bench.kernel_tables import read_tables
from paceline.engines.model.engine import EngineConfig
from paceline.engines.model.presets import PRESETS
from paceline.engines.model.steptime import StepTime
from paceline.sim.frontend import FrontendTime
from paceline.sim.mooncake import tokens
from paceline.sim.record import Row
from paceline.sim.run import NO_PROXY, RunConfig, simulate
from paceline.sim.summary import Slo, Spread, Summary, summarise
from paceline.sim.workload import Session, Turn, single

BLOCK = 16
CHUNK = 2048
"""`max_num_batched_tokens` of both runs."""
NO_FRONTEND = FrontendTime(latency=0, token=0, request=0, burst=0)
"""The recorded times are the engine's own."""
FIT_ROUNDS = 2
LIMIT = 0.04
"""What every figure may be off by."""
T = TypeVar("T")
FIGURES = ("mean", "p50", "p90", "p99")


class Asked(Struct):
    """A request of the workload; ids of full blocks, the answer's following the prompt's."""

    input_length: int
    output_length: int
    hash_ids: list[int]
    output_hash_ids: list[int]


class Served(Struct):
    """Its times, in seconds of one clock."""

    queued_ts: float
    first_token_ts: float
    last_token_ts: float


class Truth(Struct):
    """One recorded run and its simulation."""

    name: str
    how: str
    real: Summary
    simulated: Summary


def ground_truth(folder: Path) -> Iterator[Truth]:
    """Both runs."""
    asked = list(_read(folder / "workload_sharegpt300_llama31_8b.jsonl.gz", Asked))
    name = "rtxpro6000_llama31_8b"
    real = _real(folder, name, asked)
    pro = EngineConfig(
        time=PRESETS["llama-3.1-8b-rtx-pro-6000"].vllm,
        kv_tokens=PRESETS["llama-3.1-8b-rtx-pro-6000"].kv_tokens,
        chunk_tokens=CHUNK,
        max_running=128,
    )
    s, made = _fitted(pro, real, asked)
    yield Truth(name, f"preset, s = {s:.3f}", summarise(real, Slo()), made)
    name = "rtx4090_llama31_8b"
    real = _real(folder, name, asked)
    small = EngineConfig(
        time=read_tables(folder, "rtx4090_llama-3.1-8b_tp1"),
        kv_tokens=2588 * BLOCK,
        chunk_tokens=CHUNK,
        max_running=256,
    )
    yield Truth(name, "kernel tables", summarise(real, Slo()), _simulated(small, real, asked))


def _fitted(engine: EngineConfig, real: list[Row], asked: list[Asked]) -> tuple[float, Summary]:
    """The scalar with which the mean TPOT is the real one, and what comes of it."""
    goal = summarise(real, Slo()).tpot_s.mean
    time: StepTime = engine.time
    made = _simulated(engine, real, asked)
    for _ in range(FIT_ROUNDS):
        time = structs.replace(time, s=time.s * goal / made.tpot_s.mean)
        made = _simulated(structs.replace(engine, time=time), real, asked)
    return time.s, made


def _simulated(engine: EngineConfig, real: list[Row], asked: list[Asked]) -> Summary:
    config = RunConfig(policy=NO_PROXY, engine=engine, frontend=NO_FRONTEND)
    return summarise(simulate(config, _sessions(real, asked)).rows, Slo())


def _real(folder: Path, name: str, asked: list[Asked]) -> list[Row]:
    served = list(_read(folder / f"{name}.requests.jsonl.gz", Served))
    begin = min(times.queued_ts for times in served)
    return [
        Row(
            id=f"{i:03d}",
            arrival=times.queued_ts - begin,
            dispatched=times.queued_ts - begin,
            first=times.first_token_ts - begin,
            last=times.last_token_ts - begin,
            prompt=request.input_length,
            out=request.output_length,
        )
        for i, (times, request) in enumerate(zip(served, asked, strict=True))
    ]


def _sessions(real: list[Row], asked: list[Asked]) -> Iterator[Session]:
    """In order of arrival; every token of a block is the block's id."""
    fresh = 1 << 31
    for row, request in sorted(zip(real, asked, strict=True), key=lambda pair: pair[0].arrival):
        length = request.input_length + request.output_length
        tape = tokens(request.hash_ids + request.output_hash_ids, length, BLOCK)
        rest = length - len(tape)
        tape += array("I", range(fresh, fresh + rest))
        fresh += rest
        turn = Turn(
            prompt=tape[: request.input_length],
            output_tokens=request.output_length,
            output=tape[request.input_length :],
        )
        yield single(row.id, turn, row.arrival)


def _read(path: Path, kind: type[T]) -> Iterator[T]:
    with gzip.open(path) as file:
        for line in file:
            yield msgspec.json.decode(line, type=kind)


def table(truths: list[Truth]) -> str:
    """Markdown: real -> simulated (difference)."""
    lines = [f"| run | | {' | '.join(FIGURES)} |", "|---|---|---|---|---|---|"]
    for truth in truths:
        for name, real, made in spreads(truth):
            cells = [
                f"{a:.4g} → {b:.4g} ({b / a - 1:+.1%})"
                for a, b in ((getattr(real, f), getattr(made, f)) for f in FIGURES)
            ]
            lines.append(f"| {truth.name}, {truth.how} | {name} s | {' | '.join(cells)} |")
    return "\n".join(lines)


def spreads(truth: Truth) -> list[tuple[str, Spread, Spread]]:
    """The latencies that are compared."""
    real, made = truth.real, truth.simulated
    return [
        ("TTFT", real.ttft_s, made.ttft_s),
        ("TPOT", real.tpot_s, made.tpot_s),
        ("E2E", real.e2e_s, made.e2e_s),
    ]


def failures(truth: Truth) -> list[str]:
    """What is further off than `LIMIT`."""
    return [
        f"{truth.name}: {name} {figure}"
        for name, real, made in spreads(truth)
        for figure in FIGURES
        if abs(getattr(made, figure) / getattr(real, figure) - 1) > LIMIT
    ]
