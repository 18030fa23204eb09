"""A run as a Chrome trace, which ui.perfetto.dev and chrome://tracing open.

A process an engine: one thread shows its steps; every request is on a thread of the first free
lane, with its time in the queue, its prefill (the engine's own queue included) and its decode.
Beside them run the counters of `Sample`; the proxy is a process too, with its queue.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from paceline.sim.experiment import Outcome
from paceline.sim.record import Row, Sample

PROXY = 1
"""Process of the proxy; engines take those from 2 on. 0 is Linux's idle process to Perfetto."""
STEPS = 1
"""Thread of an engine's steps; requests take those from 2 on."""
MICROSECONDS = 1e6


def write_timeline(path: Path, outcome: Outcome) -> None:
    """Write the trace of one run; OSError."""
    document = {"displayTimeUnit": "ms", "traceEvents": list(_events(outcome))}
    path.write_bytes(msgspec.json.encode(document))


def _events(outcome: Outcome) -> Iterator[dict[str, Any]]:
    backends = {id: number for number, id in enumerate(outcome.steps, PROXY + 1)}
    yield _name("process_name", PROXY, STEPS, "proxy")
    for id, number in backends.items():
        yield _name("process_name", number, STEPS, id)
        yield _name("thread_name", number, STEPS, "steps")
        for step in outcome.steps[id]:
            work = {"prefill_tokens": step.prefill_tokens, "decodes": step.decodes}
            label = "prefill" if step.prefill_tokens else "decode"
            yield _span(label, number, STEPS, step.start, step.start + step.duration, work)
    for sample in outcome.samples:
        yield from _counters(sample, backends[sample.backend])
    lanes = _Lanes()
    for row in outcome.rows:
        if row.last is not None:
            yield from _request(row, backends[row.backend], lanes.take(row.backend, row))


def _request(row: Row, process: int, lane: int) -> Iterator[dict[str, Any]]:
    assert row.dispatched is not None
    assert row.first is not None
    assert row.last is not None
    about = {"id": row.id, "family": row.family, "prompt": row.prompt, "cached": row.cached}
    if row.dispatched > row.arrival:
        yield _span("queued", process, lane, row.arrival, row.dispatched, about)
    yield _span("prefill", process, lane, row.dispatched, row.first, about)
    yield _span("decode", process, lane, row.first, row.last, {"id": row.id, "out": row.out})


def _counters(sample: Sample, process: int) -> Iterator[dict[str, Any]]:
    yield _counter("queued", PROXY, sample.time, sample.queued)
    yield _counter("running", process, sample.time, sample.running)
    yield _counter("waiting", process, sample.time, sample.waiting)
    yield _counter("KV tokens held", process, sample.time, sample.kv_used)


class _Lanes:
    """Gives every request the first lane of its engine that is free at its arrival."""

    def __init__(self) -> None:
        self._free_at: dict[str, list[float]] = {}

    def take(self, backend: str, row: Row) -> int:
        """Rows must come by arrival."""
        assert row.last is not None
        lanes = self._free_at.setdefault(backend, [])
        for lane, free_at in enumerate(lanes):
            if free_at <= row.arrival:
                lanes[lane] = row.last
                return STEPS + 1 + lane
        lanes.append(row.last)
        return STEPS + len(lanes)


def _span(
    name: str, process: int, thread: int, start: float, end: float, args: dict[str, Any]
) -> dict[str, Any]:
    return {
        "name": name,
        "ph": "X",
        "pid": process,
        "tid": thread,
        "ts": round(start * MICROSECONDS, 3),
        "dur": round((end - start) * MICROSECONDS, 3),
        "args": args,
    }


def _counter(name: str, process: int, time: float, value: int) -> dict[str, Any]:
    at = round(time * MICROSECONDS, 3)
    return {"name": name, "ph": "C", "pid": process, "ts": at, "args": {"value": value}}


def _name(what: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": process, "tid": thread, "args": {"name": name}}
