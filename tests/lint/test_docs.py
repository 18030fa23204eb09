"""docs/lint.md has an entry a code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from paceline.cli import cli
from paceline.lint.rules.registry import RULES
from tests.lint.logs import HANDBOOK, chat, write

PAGE = (Path(__file__).parents[2] / "docs" / "lint.md").read_text()


def test_every_code_has_an_entry() -> None:
    """In order, with the words that the command uses."""
    entries = re.findall(r"^## (PL\d+): (.+)$", PAGE, re.M)
    assert entries == sorted((rule.code, rule.title) for rule in RULES)


def test_the_finding_shown_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By forty requests whose system prompt tells the time."""
    monkeypatch.chdir(tmp_path)
    bodies = [chat(f"It is 10:{i:02d}. {HANDBOOK}", i % 20) for i in range(40)]
    path = write(Path("requests.jsonl"), bodies)
    said = CliRunner().invoke(cli, ["lint", str(path)]).stdout
    assert f"\n{said.splitlines()[0]}\n" in PAGE
