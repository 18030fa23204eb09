"""What must hold after hours of traffic: flat memory, counters at zero, no unasked failure."""

from __future__ import annotations

from collections.abc import Sequence

from bench.soak.proxy import Sample
from bench.soak.traffic import Traffic

GROWTH = 0.05
"""Part of its mean by which resident memory may grow over the second half of the run."""
SPARE_FILES = 4
"""Open files that an idle proxy may have more than before: checks of engines under way."""


def growth(points: Sequence[tuple[float, float]]) -> float:
    """Of resident memory over the second half of points (when, how much): slope of the least
    squares' line times its length, as a part of the mean."""
    half = points[len(points) // 2 :]
    middle = sum(x for x, _ in half) / len(half)
    mean = sum(y for _, y in half) / len(half)
    slope = sum((x - middle) * (y - mean) for x, y in half)
    slope /= sum((x - middle) ** 2 for x, _ in half)
    return slope * (half[-1][0] - half[0][0]) / mean


def leftovers(before: Sample, after: Sample) -> list[str]:
    """What the idle proxy still has, in words."""
    counts = {
        "waiting": after.waiting,
        "in flight": after.in_flight,
        "KV or prefill tokens": after.kv_tokens,
        "open files": max(0, after.files - before.files - SPARE_FILES),
    }
    return [f"{count} {what} left behind" for what, count in counts.items() if count]


def miscounted(traffic: Traffic, ended: int) -> list[str]:
    """Every request ends once; of those who left, some were never read."""
    if traffic.sent - traffic.left <= ended <= traffic.sent:
        return []
    return [f"{ended} requests ended, {traffic.sent} were sent, {traffic.left} clients left"]


def unflat(points: Sequence[tuple[float, float]]) -> list[str]:
    """Whether memory grows, in words."""
    grown = growth(points)
    return [f"memory grew by {grown:.1%} in the second half"] if grown > GROWTH else []
