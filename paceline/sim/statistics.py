"""Means with 95% confidence intervals, alone and paired by seed."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from msgspec import Struct

T_95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""Student's t at 97.5% for 1 to 30 degrees of freedom; 1.96 beyond."""


class Estimate(Struct, frozen=True):
    """A mean and the half width of its interval; None from a single value."""

    mean: float
    half: float | None


def estimate(values: Sequence[float]) -> Estimate:
    """Mean of at least one value, with Student's interval."""
    count = len(values)
    mean = sum(values) / count
    if count < 2:
        return Estimate(mean, None)
    variance = sum((value - mean) ** 2 for value in values) / (count - 1)
    t = T_95[count - 2] if count - 2 < len(T_95) else 1.96
    return Estimate(mean, t * sqrt(variance / count))


def change(values: Sequence[float], base: Sequence[float]) -> Estimate | None:
    """Mean relative difference from `base`, seed by seed; None where a base is zero."""
    if not all(base):
        return None
    return estimate([value / other - 1 for value, other in zip(values, base, strict=True)])
