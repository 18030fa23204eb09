"""Spells out the links that leave docs/: the site has no other files of the repository."""

from __future__ import annotations

import re
from typing import Any


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """MkDocs calls this for each page; one in a folder has one step more to go up."""
    up = re.escape("../" * (page.file.src_uri.count("/") + 1))
    return re.sub(rf"\[([^\]]+)\]\({up}([^)#\s]+)[^)]*\)", _spell_out, markdown)


def _spell_out(link: re.Match[str]) -> str:
    """`[text](../FILE)` as `text (FILE)`, or as the file alone where that is the text."""
    text, file = link.groups()
    return f"`{file}`" if file.startswith(text.strip("`")) else f"{text} (`{file}`)"
