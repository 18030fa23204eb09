"""docs/planning.md shows what the command does."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from paceline.plan.cli import plan
from paceline.plan.gpu import CARDS
from paceline.plan.spec import GpuSpec, LoadSpec, ModelSpec
from tests.plan.models import DATA

PAGE = (Path(__file__).parents[2] / "docs" / "planning.md").read_text()


def test_the_case_shown_is_the_case_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file and every part of the output stand in the page."""
    monkeypatch.chdir(DATA)
    assert (DATA / "three.toml").read_text() in PAGE
    result = CliRunner().invoke(plan, ["-c", "three.toml"])
    shown = [part for part in result.stdout.strip().split("\n\n") if "counted from" not in part]
    assert len(shown) == 9
    assert all(part in PAGE for part in shown)


def test_every_key_is_documented() -> None:
    """All settings of the file, and all cards."""
    for table, cls in (("gpu", GpuSpec), ("load", LoadSpec), ("models", ModelSpec)):
        for field in msgspec.structs.fields(cls):
            assert f"`{table}.{field.name}`" in PAGE
    assert all(f"`{card}`" in PAGE for card in CARDS)
