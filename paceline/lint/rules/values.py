"""PL001 to PL004: values that change from request to request inside a template's text.

The text keeps a name in the value's place, and the value itself goes to the end of the prompt.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache

from msgspec import Struct

from paceline.lint.log import Entry
from paceline.lint.prompt import appended, blocks, rewritten, texts
from paceline.lint.rules.base import Edited, Mended, Rule, each

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
_DATE = (
    r"\d{4}-\d\d-\d\d|\d{1,2}/\d{1,2}/\d{2,4}"
    rf"|{_MONTH}\.? \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}|\d{{1,2}}\.? {_MONTH}\.? \d{{4}}"
)
_CLOCK = r"\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?(?: ?[AaPp][Mm])?(?: ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d))?"
PATTERN = re.compile(
    rf"(?P<time>(?:(?:{_DATE})[T ,]+(?:at )?)?\b{_CLOCK}|\b1[5-9]\d{{8}}(?:\d{{3}})?\b)"
    rf"|(?P<date>\b(?:{_DATE})\b)"
    r"|(?P<id>\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"
    r"|\b(?=[0-9a-z_]*\d)(?:[a-z]+_)?(?:[0-9a-f]{12,}|[0-9A-HJKMNP-TV-Z]{26})\b)"
    r"|(?P<number>(?<![\w.-])\d+(?:[.,]\d+)*(?![\w-]))"
)
"""Times (clocks with or without a date, seconds since 1970), dates, random ids, other numbers."""

Varying = dict[str, set[int]]
"""Which values of a block change, by the block with kinds in their places."""


class Value(Struct, frozen=True):
    """One value inside a block."""

    kind: str
    start: int
    end: int


@lru_cache(maxsize=1 << 16)  # most blocks of a log are those that requests share
def _skeleton(block: str) -> tuple[str, tuple[Value, ...]]:
    """The block with kinds in the place of values, and its values."""
    found = tuple(
        Value(str(match.lastgroup), match.start(), match.end()) for match in PATTERN.finditer(block)
    )
    return _replaced(block, [(value, value.kind) for value in found]), found


def _replaced(block: str, named: Iterable[tuple[Value, str]]) -> str:
    parts: list[str] = []
    end = 0
    for value, name in named:
        parts += block[end : value.start], f"<{name}>"
        end = value.end
    return "".join([*parts, block[end:]])


def _varying(log: Sequence[Entry]) -> Varying:
    """Places whose value is not the same in all requests that have them.

    Blocks of which one request has several, such as numbered rules, are lists: their numbers are
    the template's own.
    """
    seen: dict[tuple[str, int], set[str]] = defaultdict(set)
    lists: set[str] = set()
    for entry in log:
        here: dict[str, str] = {}
        for _, text in texts(entry.body):
            for block in blocks(text)[0]:
                skeleton, found = _skeleton(block)
                if not found:
                    continue
                if here.setdefault(skeleton, block) != block:
                    lists.add(skeleton)
                for number, value in enumerate(found):
                    seen[skeleton, number].add(block[value.start : value.end])
    varying: Varying = defaultdict(set)
    for (skeleton, number), values in seen.items():
        if len(values) > 1 and skeleton not in lists:
            varying[skeleton].add(number)
    return varying


def _rule(code: str, kind: str, what: str) -> Rule:
    def mend(log: Sequence[Entry]) -> Mended:
        varying = _varying(log)
        return each(log, lambda entry: _mended(entry, kind, varying))

    return Rule(
        code=code,
        title=f"{what} in a template's text",
        move=f"keep <{kind}> in its place and say the value at the end of the last message",
        mend=mend,
    )


def _mended(entry: Entry, kind: str, varying: Varying) -> Edited:
    found = [
        (where, block[value.start : value.end])
        for where, text in texts(entry.body)
        for block in blocks(text)[0]
        for value in _moving(block, kind, varying)
    ]
    if not found:
        return entry.body, []
    body = rewritten(entry.body, lambda text: _named(text, kind, varying))
    said = ", ".join(value for _, value in found)
    return appended(body, f"<{kind}>: {said}"), found


def _moving(block: str, kind: str, varying: Varying) -> list[Value]:
    """Values of that kind that vary."""
    skeleton, found = _skeleton(block)
    numbers = varying.get(skeleton)
    if numbers is None:
        return []
    return [v for number, v in enumerate(found) if v.kind == kind and number in numbers]


def _named(text: str, kind: str, varying: Varying) -> str:
    """The text with `<kind>` for its values of that kind that vary."""
    for block in blocks(text)[0]:
        if moving := _moving(block, kind, varying):
            named = _replaced(block, [(value, kind) for value in moving])
            text = text.replace(block, named, 1)
    return text


TIME = _rule("PL001", "time", "a time that changes")
DATE = _rule("PL002", "date", "a date that changes")
ID = _rule("PL003", "id", "a random id")
NUMBER = _rule("PL004", "number", "a number that changes")
