"""The results for other programs: one JSON object, CSV and Parquet files of runs and requests."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from paceline.sim.experiment import Outcome
from paceline.sim.extras import extra
from paceline.sim.record import Row

RELATIVE = "relative only: the step times are a preset's, not calibrated (see `paceline calibrate`)"
"""What output without a calibration says of itself."""
KEY = ("policy", "engine", "backends", "kv_tokens", "seed")
"""What tells runs apart."""


def as_json(outcomes: Sequence[Outcome], *, calibrated: bool) -> bytes:
    """One object: `runs[]`, and whether absolute times mean anything."""
    document = {
        "calibrated": calibrated,
        "note": "" if calibrated else RELATIVE,
        "skipped_rows": max((outcome.skipped for outcome in outcomes), default=0),
        "runs": [record(outcome) for outcome in outcomes],
    }
    return msgspec.json.encode(document)


def record(outcome: Outcome) -> dict[str, Any]:
    """One run: what it was, then every figure of its summary."""
    config = outcome.config
    key = (config.policy, config.engine.kind, config.backends, config.engine.kv_tokens, config.seed)
    figures: dict[str, Any] = msgspec.to_builtins(outcome.summary)
    return dict(zip(KEY, key, strict=True)) | figures


def write_runs(path: Path, outcomes: Sequence[Outcome]) -> None:
    """A CSV row a run; nested figures are named like `ttft_s.p99`."""
    records = _records(outcomes)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        writer.writerows(records)


def write_parquet(path: Path, outcomes: Sequence[Outcome]) -> None:
    """The rows and columns of `write_runs` as Parquet; MissingExtra without pyarrow, OSError."""
    arrow = extra("parquet", "pyarrow")
    table = arrow.Table.from_pylist(_records(outcomes))
    with path.open("wb") as file:
        extra("parquet", "pyarrow.parquet").write_table(table, file)


def write_requests(path: Path, outcomes: Iterable[Outcome]) -> None:
    """A CSV row a request; with several runs each row also says which run it is of."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        fields = _fields(Row)
        writer.writerow([*fields, *KEY[:1], *KEY[2:]])
        for outcome in outcomes:
            config = outcome.config
            run = config.policy, config.backends, config.engine.kv_tokens, config.seed
            for row in outcome.rows:
                writer.writerow([*(_cell(getattr(row, name)) for name in fields), *run])


def _records(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    return [_flat(record(outcome)) for outcome in outcomes]


def _fields(cls: type[Struct]) -> tuple[str, ...]:
    return cls.__struct_fields__


def _cell(value: object) -> object:
    """Microseconds are finer than anything that is modelled."""
    return round(value, 6) if isinstance(value, float) else value


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            flat[key] = value
    return flat
