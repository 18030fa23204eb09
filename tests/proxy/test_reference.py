"""The reference page says what the code says."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from paceline.proxy.config import Config
from paceline.proxy.reference import HEAD, reference

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_up_to_date() -> None:
    """docs/configuration.md is what scripts/docs would write now."""
    assert PAGE.read_text() == reference()


def test_every_setting_is_explained() -> None:
    """No row of the page lacks its explanation."""
    rows = [line for line in reference().splitlines() if line.startswith("| `")]
    assert len(rows) > 30
    assert not [row for row in rows if row.endswith("|  |")]


def test_the_example_is_sound() -> None:
    """The file shown at the top decodes."""
    example = HEAD.split("```toml\n")[1].split("```")[0]
    assert len(msgspec.convert(tomllib.loads(example), Config).backends) == 2
