"""docs/clients.md shows what works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "clients.md").read_text()


@pytest.mark.parametrize("client", ["openai", "anthropic"])
def test_the_shown_program_prints_an_answer(
    client: str, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run as it stands, but for the port."""
    (code,) = re.findall(rf"## {client}\n\n<!-- [^\n]+ -->\n```python\n(.*?)```", PAGE, re.S)
    exec(code.replace("http://127.0.0.1:8000", base), {})
    assert len(capsys.readouterr().out.strip()) > 8


def test_each_client_has_its_section() -> None:
    """The table's links lead to headings of the page."""
    rows = PAGE.partition("## ")[0]
    headings = {
        re.sub(r"[^\w\- ]", "", line[3:]).lower().replace(" ", "-")
        for line in PAGE.splitlines()
        if line.startswith("## ")
    }
    links = set(re.findall(r"\]\(#([^)]+)\)", rows))
    assert len(links) >= 10
    assert links <= headings
