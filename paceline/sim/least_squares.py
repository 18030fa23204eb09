"""Nonlinear least squares for a handful of parameters: Levenberg and Marquardt's method, plain."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Residuals = Callable[[Sequence[float]], list[float]]

STEP = 1e-6
"""Of the numeric derivatives, for parameters of the order of 1."""
ROUNDS = 200
GOOD_ENOUGH = 1e-10
"""Relative improvement of the sum of squares below which it ends."""


def minimise(residuals: Residuals, start: Sequence[float]) -> list[float]:
    """Parameters near `start` with the least sum of squared residuals."""
    at, damping = list(start), 1e-3
    found = residuals(at)
    for _ in range(ROUNDS):
        gradient, curvature = _normal(residuals, at, found)
        trial = [x + d for x, d in zip(at, _step(gradient, curvature, damping), strict=True)]
        new = residuals(trial)
        before, after = _squares(found), _squares(new)
        if after >= before:
            damping *= 10
            if damping > 1e12:
                break
            continue
        at, found, damping = trial, new, damping / 10
        if before - after < GOOD_ENOUGH * before:
            break
    return at


def solve(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """x of matrix * x = right, by elimination with pivots; ZeroDivisionError when singular."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    size = len(rows)
    for i in range(size):
        pivot = max(range(i, size), key=lambda j: abs(rows[j][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for j in range(i + 1, size):
            factor = rows[j][i] / rows[i][i]
            rows[j] = [x - factor * y for x, y in zip(rows[j], rows[i], strict=True)]
    solution = [0.0] * size
    for i in reversed(range(size)):
        known = sum(rows[i][j] * solution[j] for j in range(i + 1, size))
        solution[i] = (rows[i][size] - known) / rows[i][i]
    return solution


def _squares(values: Sequence[float]) -> float:
    return sum(value * value for value in values)


def _normal(
    residuals: Residuals, at: list[float], found: list[float]
) -> tuple[list[float], list[list[float]]]:
    """J'r and J'J at a point, J by differences."""
    columns = []
    for i in range(len(at)):
        moved = [*at[:i], at[i] + STEP, *at[i + 1 :]]
        columns.append(
            [(new - old) / STEP for new, old in zip(residuals(moved), found, strict=True)]
        )
    gradient = [_dot(column, found) for column in columns]
    return gradient, [[_dot(left, right) for right in columns] for left in columns]


def _step(gradient: list[float], curvature: list[list[float]], damping: float) -> list[float]:
    damped = [
        [value * (1 + damping) + 1e-15 if i == j else value for j, value in enumerate(row)]
        for i, row in enumerate(curvature)
    ]
    return solve(damped, [-value for value in gradient])


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(left, right, strict=True))
