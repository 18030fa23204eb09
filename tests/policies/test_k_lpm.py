"""Every k-th request goes for its age."""

from __future__ import annotations

import math

import pytest

from paceline.policies.k_lpm import KLpm
from tests.policies.lineup import LineUp


@pytest.mark.parametrize(
    ("k", "order"),
    [
        (1.0, "cold1 cold2 w1 w2 w3 w4"),
        (2.0, "cold1 w1 cold2 w2 w3 w4"),
        (3.0, "w1 cold1 w2 w3 cold2 w4"),
        (math.inf, "w1 w2 w3 w4 cold1 cold2"),
    ],
)
def test_one_in_k_is_the_oldest(k: float, order: str) -> None:
    """k-1 longest matches (here `busy` is the first), then the oldest; k=1 is arrival order."""
    line = LineUp(KLpm(k=k))
    for id in ("cold1", "cold2"):
        line.wait(id, id[-1] * 3)
    for id in ("w1", "w2", "w3", "w4"):
        line.wait(id, "ABCD")
    assert line.all(0.2) == order
