"""Step times from measured kernels: dense layers by tokens, attention by what a step mixes.

The tables are those of LLMServingSim's profiler, microseconds of one layer each. Between their
points values are interpolated, dimension by dimension; beyond the last point they go on in
proportion.
"""

from __future__ import annotations

import csv
import gzip
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

from msgspec import Struct, structs

from paceline.engines.model.steptime import StepTime, Work

LAYERS = 32
"""Of Llama-3.1-8B."""
ONCE = ("embedding", "final_layernorm")
TWICE = ("layernorm",)
"""Before attention and before the MLP."""
MOST_MIXED = 128
"""Most decodes that were measured beside a prefill."""
Curve = list[tuple[float, float]]
Point = tuple[int, int, int, int]


class Tables(Struct, frozen=True):
    """What was measured."""

    dense: Curve
    """Microseconds of a step by its tokens, all layers, without attention."""
    sampled: Curve
    """Microseconds by the sequences that get a token."""
    attention: dict[Point, float]
    """One layer's, by prefill tokens, tokens before them, decodes, tokens of each decode."""
    axes: list[list[int]]


class TableTime(StepTime, frozen=True, kw_only=True):
    """A step time that ignores the formula."""

    tables: Tables

    def seconds(self, work: Work) -> float:
        """Seconds that a step with `work` takes."""
        tables = self.tables
        sequences = work.decodes + (work.prefill_tokens > 0)
        time = _on(tables.dense, work.tokens) + _on(tables.sampled, sequences)
        return (time + LAYERS * _attention(tables, work)) * 1e-6

    def ahead(self, work: Work, steps: int) -> list[float]:
        """Of the steps after `work`, whose contexts grow by a token each."""
        contexts = (work.context + work.decodes * (i + 1) for i in range(steps))
        return [self.seconds(structs.replace(work, context=context)) for context in contexts]


def read_tables(folder: Path, name: str) -> TableTime:
    """Read `<name>.dense`, `.per_sequence` and `.attention`, all `.csv.gz`."""
    rows = {kind: list(_rows(folder / f"{name}.{kind}.csv.gz")) for kind in _KINDS}
    attention: dict[Point, float] = {}
    for row in rows["attention"]:
        chunk, before, decodes, context = (int(row[axis]) for axis in _AXES)
        attention[chunk, before, decodes, context] = float(row["time_us"])
    axes = [sorted({point[i] for point in attention}) for i in range(len(_AXES))]
    tables = Tables(
        _sum(rows["dense"], "tokens"), _sum(rows["per_sequence"], "sequences"), attention, axes
    )
    return TableTime(c0=0, tw=0, k=0, a=0, b=0, g=0, tables=tables)


_KINDS = ("dense", "per_sequence", "attention")
_AXES = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode")


def _rows(path: Path) -> Iterator[Mapping[str, str]]:
    with gzip.open(path, "rt", newline="") as file:
        yield from csv.DictReader(file)


def _sum(rows: Sequence[Mapping[str, str]], by: str) -> Curve:
    """All kernels of a step together."""
    total: dict[int, float] = {}
    for row in rows:
        layer = row["layer"]
        times = 1 if by == "sequences" or layer in ONCE else LAYERS * (1 + (layer in TWICE))
        total[int(row[by])] = total.get(int(row[by]), 0.0) + times * float(row["time_us"])
    return sorted((float(at), value) for at, value in total.items())


def _on(curve: Curve, at: float) -> float:
    if at >= curve[-1][0]:
        return curve[-1][1] * at / curve[-1][0]
    i = max(1, bisect_right(curve, (at, 0.0)))
    (left, low), (right, high) = curve[i - 1], curve[i]
    return low + (high - low) * max(0.0, at - left) / (right - left)


def _attention(tables: Tables, work: Work) -> float:
    chunk = work.prefill_tokens
    before = max(0.0, work.area / chunk - chunk / 2) if chunk else 0.0
    decodes = min(work.decodes, MOST_MIXED) if chunk else work.decodes
    context = work.context / work.decodes if work.decodes else 0.0
    scale = work.decodes / decodes if decodes else 1.0
    return scale * _between(tables, (chunk, before, decodes, context))


def _between(tables: Tables, at: Sequence[float]) -> float:
    """The weighted mean of the measured points around `at`."""
    sides = [_side(axis, value) for axis, value in zip(tables.axes, at, strict=True)]
    total = 0.0
    for corner in product(*sides):
        weight = 1.0
        for _, part in corner:
            weight *= part
        chunk, before, decodes, context = (value for value, _ in corner)
        if weight:
            total += weight * tables.attention[chunk, before, decodes, context]
    return total


def _side(axis: list[int], value: float) -> list[tuple[int, float]]:
    """The measured values on both sides, with their weights."""
    i = bisect_right(axis, value)
    if i == len(axis):
        return [(axis[-1], value / axis[-1])]
    part = (value - axis[i - 1]) / (axis[i] - axis[i - 1])
    return [(axis[i - 1], 1 - part), (axis[i], part)]
