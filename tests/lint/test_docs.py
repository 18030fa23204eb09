"""docs/lint.md has an entry a code."""

from __future__ import annotations

import re
from pathlib import Path

from paceline.lint.rules.registry import RULES

PAGE = (Path(__file__).parents[2] / "docs" / "lint.md").read_text()


def test_every_code_has_an_entry() -> None:
    """In order, with the words that the command uses."""
    entries = re.findall(r"^## (PL\d+): (.+)$", PAGE, re.M)
    assert entries == sorted((rule.code, rule.title) for rule in RULES)
