"""Finds the blocks of code in a page, with what an invisible comment before each says of it.

A comment right before a block, `<!-- example: ACTION -->`, says how a test sees to it that the
block is true; `<!-- setup: COMMAND -->` is run before. Pages of paceline.toml need none.
"""

from __future__ import annotations

import re

from msgspec import Struct

UNSAID = {"toml": "check"}
"""What is done by language with a block that has no comment; others must have one."""
BLOCK = re.compile(
    r"(?P<comments>(?:^<!-- (?:example|setup): [^\n]+ -->\n)*)"
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<code>.*?)^(?P=indent)```$",
    re.M | re.S,
)


class Block(Struct, frozen=True, kw_only=True):
    """One block of a page."""

    line: int
    """Of its first line of code, counted from 1."""
    language: str
    code: str
    setup: str
    """A shell command, empty where nothing is needed."""
    action: str
    """`run`, `check`, `parse`, `save`, `tested` or `shown`; empty where nothing says what to do."""
    detail: str
    """The file, test or reason that `save`, `tested` and `shown` name."""


def blocks(text: str) -> list[Block]:
    """All blocks of a page, in order."""
    return [_block(text, found) for found in BLOCK.finditer(text)]


def _block(text: str, found: re.Match[str]) -> Block:
    comments = dict(re.findall(r"<!-- (example|setup): (.+) -->", found["comments"]))
    action, _, detail = comments.get("example", UNSAID.get(found["language"], "")).partition(" ")
    return Block(
        line=text.count("\n", 0, found.start("code")) + 1,
        language=found["language"],
        code=re.sub(rf"^{found['indent']}", "", found["code"], flags=re.M),
        setup=comments.get("setup", ""),
        action=action,
        detail=detail,
    )
