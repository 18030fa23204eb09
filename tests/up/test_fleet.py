"""Which engines must not start at the same time."""

from __future__ import annotations

import pytest

from paceline.up.fleet import groups
from tests.up.rig import engine


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        ([[0], [0], [1]], [0, 0, 2]),
        ([[0], [1], [0, 1]], [0, 0, 0]),
        ([[0], [1], None], [0, 0, 0]),
        ([None, []], [0, 1]),
        ([None, None], [0, 0]),
        ([[], []], [0, 1]),
        ([[0], ["0"], ["GPU-1a"]], [0, 0, 2]),
    ],
)
def test_those_that_share_a_gpu_are_one_group(
    gpus: list[list[int | str] | None], expected: list[int]
) -> None:
    """Also by way of a third; without GPUs nobody shares one, unsaid it could be any."""
    assert groups([engine(gpus=each) for each in gpus]) == expected
