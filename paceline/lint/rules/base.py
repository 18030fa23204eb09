"""What a rule is: it mends a whole log and says what it changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct, structs

from paceline.lint.log import Body, Entry


class Change(Struct, frozen=True):
    """One thing that breaks a prefix in one request."""

    index: int
    """Of the request in the log."""
    where: str
    """Such as `messages[0]`."""
    what: str
    """What stands there and differs, shortened."""


class Mended(Struct, frozen=True):
    """A log as it would be, and what was changed."""

    log: list[Entry]
    changes: list[Change]


class Rule(Struct, frozen=True, kw_only=True):
    """One thing that can be wrong."""

    code: str
    title: str
    """What is wrong, as a clause."""
    move: str
    """What to do about it."""
    mend: Callable[[Sequence[Entry]], Mended]
    """The log without it; what is right already comes back as it is."""


Edited = tuple[Body, list[tuple[str, str]]]
"""A body and what was changed in it: where and what."""


def each(log: Sequence[Entry], edit: Callable[[Entry], Edited]) -> Mended:
    """Applies `edit` to every request; those without changes stay the very same objects."""
    mended: list[Entry] = []
    changes: list[Change] = []
    for index, entry in enumerate(log):
        body, found = edit(entry)
        mended.append(structs.replace(entry, body=body) if found else entry)
        changes += [Change(index, where, short(what)) for where, what in found]
    return Mended(mended, changes)


def short(text: str, most: int = 60) -> str:
    """One line of at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 3]}..."
