"""Gives the translated pages the blocks of code of the pages they translate, which say it all."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {"ko/quickstart.md": "tutorial.md", "ko/planning.md": "planning.md"}
BLOCK = re.compile(r"^```\w*\n.*?^```$", re.M | re.S)


def with_blocks(page: str, original: str) -> str:
    """The page with the original's blocks in the place of its own; both have as many."""
    blocks = BLOCK.findall(original)
    if len(BLOCK.findall(page)) != len(blocks):
        raise ValueError(f"the original has {len(blocks)} blocks, the translation does not")
    following = iter(blocks)
    return BLOCK.sub(lambda _: next(following), page)


def main() -> None:
    """All of them, in place."""
    for page, original in PAGES.items():
        path = DOCS / page
        path.write_text(with_blocks(path.read_text(), (DOCS / original).read_text()))


if __name__ == "__main__":
    main()
