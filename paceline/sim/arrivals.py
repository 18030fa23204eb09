"""When sessions start: all at once, or one after another with random gaps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from math import gamma
from random import Random
from typing import Literal

from paceline.sim.workload import Session, Workload

Gaps = Literal["poisson", "gamma", "weibull"]


def at_once(sessions: Iterable[Session]) -> Workload:
    """All at time 0, in this order."""
    for session in sessions:
        session.at = 0.0
        yield session


def spaced(sessions: Iterable[Session], gaps: Iterator[float]) -> Workload:
    """Each one gap after the one before."""
    now = 0.0
    for session in sessions:
        now += next(gaps)
        session.at = now
        yield session


def gaps(kind: Gaps, rate: float, cv: float, rng: Random) -> Iterator[float]:
    """Endless gaps with mean `1 / rate` seconds and coefficient of variation `cv`.

    Poisson's is 1 whatever `cv` says; ServeGen finds Gamma and Weibull gaps with 1 to 4 in clients
    of a public service.
    """
    draw: Callable[[], float]
    if kind == "poisson":
        draw = lambda: rng.expovariate(rate)  # noqa: E731
    elif kind == "gamma":
        shape = cv**-2
        draw = lambda: rng.gammavariate(shape, 1 / (shape * rate))  # noqa: E731
    else:
        shape = weibull_shape(cv)
        scale = 1 / (rate * gamma(1 + 1 / shape))
        draw = lambda: rng.weibullvariate(scale, shape)  # noqa: E731
    while True:
        yield draw()


def weibull_shape(cv: float) -> float:
    """The shape of a Weibull distribution with coefficient of variation `cv`, by bisection."""
    low, high = 0.1, 50.0
    while high - low > 1e-9:
        shape = (low + high) / 2
        mean = gamma(1 + 1 / shape)
        wide = (gamma(1 + 2 / shape) / mean**2 - 1) ** 0.5 > cv
        low, high = (shape, high) if wide else (low, shape)
    return low


def mixed(*workloads: Workload) -> Workload:
    """Several workloads side by side, by the time of their starts."""
    return merge(*workloads, key=lambda session: session.at)
