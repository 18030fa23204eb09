"""What is learned: means that forget, and how long answers get."""

from __future__ import annotations

import pytest

from paceline.scheduler.estimates import Mean, OutputLengths


def test_mean_forgets_its_initial_value_at_once() -> None:
    """The first sample replaces what was assumed."""
    mean = Mean(100.0)
    mean.add(4.0)
    assert mean.value == 4.0


def test_mean_follows() -> None:
    """Old samples fade: after many new ones the mean is theirs."""
    mean = Mean(0.0, memory=4)
    for sample in [1.0, 3.0]:
        mean.add(sample)
    assert mean.value == 2.0
    for _ in range(40):
        mean.add(10.0)
    assert mean.value == pytest.approx(10.0, abs=0.01)


def test_lengths_before_any_answer() -> None:
    """Until something was seen the assumption holds, within the client's limit."""
    lengths = OutputLengths(initial=256)
    assert lengths.expect("m", None) == 256
    assert lengths.expect("m", 20) == 20


def test_lengths_learned_by_model() -> None:
    """Each model has its own; spread adds room."""
    lengths = OutputLengths(initial=256)
    for tokens in [100, 100, 100]:
        lengths.add("steady", tokens)
    for tokens in [10, 190, 10, 190]:
        lengths.add("wild", tokens)
    assert lengths.expect("steady", None) == 101
    assert 130 < lengths.expect("wild", None) < 220
    assert lengths.expect("other", None) == 256
