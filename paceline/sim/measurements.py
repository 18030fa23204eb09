"""Recorded rows of a real engine, made into measurements that a formula can be fitted to."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import IO

from paceline.engines.measure.measurement import Measurement
from paceline.sim.calibration import CalibrationError

OUTPUT_TOKENS = 64
"""Answers in the decode rows; half of them are in the context on average."""


def read_measurements(paths: Iterable[Path]) -> list[Measurement]:
    """All measurements of these files; CalibrationError for a row that makes no sense."""
    timed: dict[tuple[str, int, int, int], list[tuple[float, float]]] = {}
    found: list[Measurement] = []
    for path in paths:
        for number, row in _rows(path):
            try:
                _take(row, timed, found)
            except (KeyError, TypeError, ValueError) as error:
                raise CalibrationError(f"{path}:{number}: {_reason(error)}") from None
    found += [m for key, times in timed.items() if (m := _measured(*key, times)) is not None]
    if not found:
        raise CalibrationError("no row of kind prefill, prefill_cached, decode or itl")
    return found


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    try:
        with _open(path) as file:
            yield from enumerate(csv.DictReader(file), 2)
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"{path}: {error}") from None


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", newline="")
    return path.open(newline="")


def _reason(error: Exception) -> str:
    return f"no column {error}" if isinstance(error, KeyError) else str(error)


def _take(
    row: Mapping[str, str],
    timed: dict[tuple[str, int, int, int], list[tuple[float, float]]],
    found: list[Measurement],
) -> None:
    kind, batch, context = row["kind"], int(row["batch"]), int(row["ctx"])
    if kind == "itl":
        seconds = float(row["itl_ms"]) / 1e3
        middle = context + OUTPUT_TOKENS // 2
        found.append(Measurement(kind="decode", batch=batch, prompt=middle, seconds=seconds))
    elif kind in ("prefill", "prefill_cached", "decode"):
        key = kind, batch, int(row["prompt"]), int(row["cached"])
        timed.setdefault(key, []).append((float(row["sent"]), float(row["first"])))
    else:
        raise ValueError(f"unknown kind `{kind}`")


def _measured(
    kind: str, batch: int, prompt: int, cached: int, times: list[tuple[float, float]]
) -> Measurement | None:
    """Lone prompts: the median. A burst: from its first request to its last first token."""
    if kind != "decode":
        seconds = median(first - sent for sent, first in times)
        return Measurement(kind="lone", batch=1, prompt=prompt, cached=cached, seconds=seconds)
    if batch < 2:
        return None
    seconds = max(first for _, first in times) - min(sent for sent, _ in times)
    return Measurement(kind="burst", batch=batch, prompt=prompt, cached=cached, seconds=seconds)
