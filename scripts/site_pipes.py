"""Shows pipes in the code of tables: GitHub wants them escaped there, MkDocs shows the escape."""

from __future__ import annotations

import html
import re
from typing import Any

CODE = re.compile(r"`([^`]*\\\|[^`]*)`")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """MkDocs calls this for each page."""
    return re.sub(r"^\|.*$", lambda row: CODE.sub(_as_html, row[0]), markdown, flags=re.M)


def _as_html(code: re.Match[str]) -> str:
    shown = html.escape(code[1].replace("\\|", "|"), quote=False)
    return f"<code>{shown.replace('|', '&#124;')}</code>"
