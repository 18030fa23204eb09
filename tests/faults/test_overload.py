"""Overload in small: three times the capacity is offered, and as much as before is answered."""

from __future__ import annotations

import pytest

from bench.overload import overload
from tests.virtual_loop import run


def test_goodput_holds_at_three_times_the_capacity(capsys: pytest.CaptureFixture[str]) -> None:
    """Within what so short a run can tell; those that are refused hear when to come back."""
    assert run(overload(8.0, least=0.9)), capsys.readouterr().out
    printed = capsys.readouterr().out
    assert "429 queue_full" in printed
    assert "'1': " in printed.partition("Retry-After: ")[2]
