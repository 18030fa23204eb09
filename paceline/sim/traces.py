"""Which reader a trace file needs, by what its first row looks like."""

from __future__ import annotations

from pathlib import Path

import msgspec

from paceline.sim.azure import HEADER, azure
from paceline.sim.event_log import event_log
from paceline.sim.mooncake import mooncake
from paceline.sim.request_log import request_log
from paceline.sim.rows import Rows, TraceError
from paceline.sim.workload import Workload


def open_trace(path: Path, *, block_tokens: int, skip_bad: bool) -> tuple[Workload, Rows]:
    """Its sessions, and the reader that counts what it skips; TraceError if the form is unknown.

    Args:
        path: the file, gzipped if it ends in `.gz`.
        block_tokens: tokens in a block of a Mooncake trace.
        skip_bad: leave bad rows out instead of raising TraceError at them.
    """
    rows = Rows(path, skip_bad=skip_bad)
    first = next(Rows(path).read(bytes), b"").strip()
    if first.lower() == HEADER.lower():
        return azure(rows), rows
    keys = _keys(first)
    if "hash_ids" in keys:
        return mooncake(rows, block_tokens), rows
    if "body" in keys:
        return request_log(rows), rows
    if "event" in keys:
        return event_log(rows), rows
    raise TraceError(f"{path}:1: neither Mooncake JSONL, Azure CSV, a request log nor an event log")


def _keys(row: bytes) -> set[str]:
    try:
        decoded = msgspec.json.decode(row)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return set()
    return set(decoded) if isinstance(decoded, dict) else set()
