"""docs/planning.md shows what the command does."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from paceline.cli import cli
from paceline.plan.gpu import CARDS
from paceline.plan.spec import GpuSpec, LoadSpec, ModelSpec
from tests.plan.models import DATA

PAGE = (Path(__file__).parents[2] / "docs" / "planning.md").read_text()


def test_the_case_shown_is_the_case_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file and the output stand in the page; rates may move a little with the simulator."""
    monkeypatch.chdir(DATA)
    assert (DATA / "three.toml").read_text() in PAGE
    result = CliRunner().invoke(cli, ["plan", "-c", "three.toml"])
    parts = result.stdout.strip().split("\n\n")
    memory, left, sizes, rates, load, _notes, *rest = parts
    assert all(part in PAGE for part in (memory, left, sizes, *rest))
    assert load.split(";")[1] in PAGE
    shown = PAGE[PAGE.index(rates.splitlines()[0]) :]
    for now, then in zip(rates.splitlines()[1:], shown.splitlines()[1:], strict=False):
        assert figures(now) == pytest.approx(figures(then), rel=0.2)


def figures(row: str) -> list[float]:
    """The numbers after a model's name."""
    return [float(cell.replace(",", "")) for cell in row.split()[1:]]


def test_every_key_is_documented() -> None:
    """All settings of the file, and all cards."""
    for table, cls in (("gpu", GpuSpec), ("load", LoadSpec), ("models", ModelSpec)):
        for field in msgspec.structs.fields(cls):
            assert f"`{table}.{field.name}`" in PAGE
    assert all(f"`{card}`" in PAGE for card in CARDS)
