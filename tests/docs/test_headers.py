"""docs/headers.md has the headers and the refusals that the code has, and no others."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import product

from paceline.proxy.http.errors import REJECTIONS
from tests.docs.perform import ROOT

PAGE = (ROOT / "docs" / "headers.md").read_text()
SOURCES = [path.read_text() for path in (ROOT / "paceline" / "proxy").rglob("*.py")]
NAME = re.compile(r"x-paceline-[a-z]+(?:-[a-z]+)*")


def rows(head: str) -> list[list[str]]:
    """The cells of the tables that begin with this head."""
    tables = [part.partition("\n\n")[0] for part in PAGE.split(f"{head}\n")[1:]]
    lines = [line for table in tables for line in table.splitlines() if "---" not in line]
    assert lines
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_header_is_documented() -> None:
    """In a row of its own, and nothing that is in a row has left the code."""
    documented = [name for row in rows("| header | meaning |") for name in NAME.findall(row[0])]
    assert len(documented) == len(set(documented))
    assert set(documented) == {name for source in SOURCES for name in NAME.findall(source)}


def test_every_refusal_is_documented() -> None:
    """Status and reason of each error that the proxy makes."""
    known = set()
    for status, reason, _ in rows("| status | reason | what happened |"):
        known |= set(product(re.findall(r"\d+", status), re.findall(r"`(\w+)`", reason)))
    made = {pair for source in SOURCES for pair in refusals(ast.parse(source))}
    made |= {(str(status), reason) for reason, (status, _) in REJECTIONS.items()}
    assert made - known == {("404", "unknown_model")}  # clients hear of `model_not_found`
    words = {word for source in SOURCES for word in re.findall(r'"(\w+)"', source)}
    assert {reason for _, reason in known} <= words


def refusals(source: ast.Module) -> Iterator[tuple[str, str]]:
    """The `ApiError`s that name their status and their reason outright."""
    for call in ast.walk(source):
        match call:
            case ast.Call(
                func=ast.Name("ApiError"), args=[ast.Constant(int(status)), *_], keywords=named
            ):
                for one in named:
                    if one.arg == "reason" and isinstance(one.value, ast.Constant):
                        yield str(status), str(one.value.value)
