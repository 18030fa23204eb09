"""PL005: the same tools in changing order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from paceline.lint.log import Entry
from paceline.lint.prompt import names
from paceline.lint.rules.base import Edited, Mended, Rule, each


def _mend(log: Sequence[Entry]) -> Mended:
    """Tools that more requests have go first, then by name: so sets that overlap share, too."""
    lists = [names(entry.body.get("tools") or []) for entry in log]
    if len({tuple(found) for found in lists}) == len({frozenset(found) for found in lists}):
        return Mended(list(log), [])
    uses = Counter(name for found in lists for name in set(found))

    def edit(entry: Entry) -> Edited:
        tools = entry.body.get("tools") or []
        order = names(tools)
        by_use = sorted(range(len(tools)), key=lambda i: (-uses[order[i]], order[i]))
        if by_use == list(range(len(tools))):
            return entry.body, []
        body = {**entry.body, "tools": [tools[i] for i in by_use]}
        return body, [("tools", ", ".join(order))]

    return each(log, edit)


TOOLS = Rule(
    code="PL005",
    title="tools in changing order",
    move="send tools in one order: those that most requests have first, then by name",
    mend=_mend,
)
