"""What is learned: means that forget, and how long answers get."""

from __future__ import annotations

import pytest

from paceline.scheduler.estimates import MAX_TENANTS, Mean, OutputLengths, Quantile


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


def test_quantile_of_the_last_samples() -> None:
    """Four fifths of the last samples are not above it, whatever came before."""
    lengths = Quantile(0.8, memory=5)
    for sample in [9, 9, 9, 50, 10, 30, 20, 40]:
        lengths.add(sample)
    assert lengths.value == 40


def test_lengths_before_any_answer() -> None:
    """Until something was seen the assumption holds, within the client's limit."""
    lengths = OutputLengths(initial=256)
    assert lengths.expect("m", "", None) == 256
    assert lengths.expect("m", "", 20) == 20


def test_lengths_learned_by_model() -> None:
    """Each model has its own, of which most answers are not longer."""
    lengths = OutputLengths(initial=256)
    for tokens in [10, 20, 30, 40, 900]:
        lengths.add("m", "", tokens)
    assert lengths.expect("m", "", None) == 40
    assert lengths.expect("m", "", 25) == 25
    assert lengths.expect("other", "", None) == 256


def test_lengths_learned_by_tenant() -> None:
    """Who writes essays needs room that others of the same model do not."""
    lengths = OutputLengths(initial=256)
    lengths.add("m", "essays", 2000)
    for _ in range(9):
        lengths.add("m", "labels", 3)
    assert lengths.expect("m", "essays", None) == 2000
    assert lengths.expect("m", "labels", None) == 3
    assert lengths.expect("m", "new", None) == 3


def test_lengths_of_the_most_recent_tenants() -> None:
    """Tenants without end take no memory without end."""
    lengths = OutputLengths(initial=256)
    for number in range(MAX_TENANTS + 1):
        lengths.add("m", f"t{number}", 7)
    lengths.add("m", "", 5)
    assert len(lengths._tenants) == MAX_TENANTS
    assert ("m", "t0") not in lengths._tenants
