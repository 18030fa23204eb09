"""Rows and samples made into curves: distributions, and how engines stood over time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from paceline.sim.record import Sample
from paceline.sim.summary import percentile

CDF_POINTS = 200
TIME_POINTS = 240

Curve = list[tuple[float, float]]


def cdf(values: Iterable[float]) -> Curve:
    """The part of the values that is not above x, at evenly spaced parts."""
    ordered = sorted(values)
    if not ordered:
        return []
    parts = [i / CDF_POINTS for i in range(CDF_POINTS + 1)]
    return [(percentile(ordered, part), part) for part in parts]


def over_time(samples: Sequence[Sample], figure: Callable[[Sample], float]) -> Curve:
    """The mean of `figure` over all backends, in equal slices of time."""
    return [(middle, sum(map(figure, inside)) / len(inside)) for middle, inside in _slices(samples)]


def hit_rate_over_time(samples: Sequence[Sample]) -> Curve:
    """Cached over all prompt tokens admitted so far, all backends together."""
    latest: dict[str, Sample] = {}
    curve: Curve = []
    for middle, inside in _slices(samples):
        latest |= {sample.backend: sample for sample in inside}
        asked = sum(sample.query_tokens for sample in latest.values())
        hit = sum(sample.hit_tokens for sample in latest.values())
        curve.append((middle, hit / asked if asked else 0.0))
    return curve


def _slices(samples: Sequence[Sample]) -> Iterable[tuple[float, list[Sample]]]:
    """Samples by equal slices of time, empty ones left out, each with its middle."""
    if not samples:
        return
    width = (samples[-1].time or 1.0) / TIME_POINTS
    inside: list[Sample] = []
    number = 0
    for sample in samples:
        place = int(sample.time / width)
        if place != number and inside:
            yield (number + 0.5) * width, inside
            inside = []
        number = place
        inside.append(sample)
    yield (number + 0.5) * width, inside
