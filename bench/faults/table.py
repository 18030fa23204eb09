"""The matrix as a Markdown table."""

from __future__ import annotations

from collections import Counter

from bench.faults.cases import REQUESTS, Row

HEAD = (
    f"{REQUESTS} requests a row, half of them streams; the fault is at one of two engines.\n\n"
    "| fault | streams see | others see | asked of engines | retried | slowest | left behind |\n"
    "|---|---|---|---|---|---|---|"
)


def line(row: Row) -> str:
    """One row."""
    left = ", ".join(row.leftovers) or "nothing"
    return (
        f"| {row.name} | {_counts(row.streams)} | {_counts(row.whole)} | {row.asked}"
        f" | {row.retried} | {row.slowest:.1f} s | {left} |"
    )


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{count}x {word}" for word, count in counter.most_common())
