"""docs/compare.md says of every flag of the routers that people come from what it is here.

The lists in flags/ are what these versions print with `--help`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.perform import ROOT

PAGE = (ROOT / "docs" / "compare.md").read_text()
LISTS = sorted((Path(__file__).parent / "flags").glob("*.txt"))
EXPLAINED = set(re.findall(r"`(--[a-z0-9-]+)`", PAGE.partition("| flag | here |")[2]))
HERE = {"--backend", "--policy"}
"""Flags of our own that the table names."""


@pytest.mark.parametrize("flags", LISTS, ids=lambda path: path.stem)
def test_every_flag_is_explained(flags: Path) -> None:
    """None is missing, and the page names the version."""
    name, _, version = flags.stem.rpartition("-")
    assert f"{name} {version}" in PAGE
    assert not set(flags.read_text().split()) - EXPLAINED


def test_no_flag_is_made_up() -> None:
    """What is explained, some router has."""
    known = {flag for flags in LISTS for flag in flags.read_text().split()}
    assert len(known) > 100
    assert not EXPLAINED - known - HERE
