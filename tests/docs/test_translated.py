"""Pages in other languages show the commands that the English ones run."""

from __future__ import annotations

import re

import pytest

from tests.docs.blocks import blocks
from tests.docs.perform import ROOT

DOCS = ROOT / "docs"
PAGES = {"ko/quickstart.md": "tutorial.md", "ko/planning.md": "planning.md"}


@pytest.mark.parametrize(("page", "original"), PAGES.items())
def test_the_blocks_are_the_originals(page: str, original: str) -> None:
    """Each of them, in order; `scripts/docs` copies them."""
    shown = [block.code for block in blocks((DOCS / page).read_text())]
    assert shown == [block.code for block in blocks((DOCS / original).read_text())]
    assert shown


@pytest.mark.parametrize(("page", "original"), PAGES.items())
def test_the_tables_have_the_same_rows(page: str, original: str) -> None:
    """What is in code in the first cell of a row, such as a setting, is in the other's, too."""
    first = re.compile(r"^\| (`[^|]+`) \|", re.M)
    assert first.findall((DOCS / page).read_text()) == first.findall((DOCS / original).read_text())


def test_every_translation_is_held() -> None:
    """No page is forgotten above."""
    assert {str(path.relative_to(DOCS)) for path in DOCS.glob("*/*.md")} == PAGES.keys()
