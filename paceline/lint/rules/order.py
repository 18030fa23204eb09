"""PL006 and PL009: what is one request's own before what all share; examples out of order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from paceline.lint.log import Body, Entry
from paceline.lint.prompt import blocks, head, messages, rewritten, said, texts
from paceline.lint.rules.base import Edited, Mended, Rule, each


def _shared_first(log: Sequence[Entry]) -> Mended:
    """Of a family, blocks that most of its requests have go before the others, order kept."""
    parts = [_parts(entry.body) for entry in log]
    uses = Counter(block for found in parts for block in set(found))
    anchors = [_anchor(found, uses) for found in parts]
    sizes = Counter(anchors)
    together = Counter(
        (anchor, block)
        for anchor, found in zip(anchors, parts, strict=True)
        for block in set(found)
    )
    families = iter(anchors)

    def edit(entry: Entry) -> Edited:
        anchor = next(families)
        return _sorted(entry.body, {
            block for block in _parts(entry.body)
            if anchor and 2 * together[anchor, block] > sizes[anchor]
        })  # fmt: skip

    return each(log, edit)


def _parts(body: Body) -> list[str]:
    return [block for _, text in texts(body) for block in blocks(text)[0]]


def _anchor(found: list[str], uses: Counter[str]) -> str:
    """What names its family: the block that spares most if it is shared; empty for none."""
    shared = [block for block in found if uses[block] > 1]
    return max(shared, key=lambda block: (len(block) * (uses[block] - 1), block), default="")


def _sorted(body: Body, shared: set[str]) -> Edited:
    """Blocks inside each text, and leading messages among each other."""
    found = [
        (where, moved) for where, text in texts(body) if (moved := _early(blocks(text)[0], shared))
    ]
    changed = rewritten(body, lambda text: _reordered(text, shared)) if found else body
    count = head(body)
    leading = messages(changed)[:count]
    ordered = sorted(leading, key=lambda message: not _has(message, shared))
    if ordered != leading:
        first = next(m for m in leading if not _has(m, shared))
        found.append(("messages", " ".join(said(first))))
        changed = {**changed, "messages": [*ordered, *messages(changed)[count:]]}
    return changed, found


def _has(message: Body, shared: set[str]) -> bool:
    """Whether most of its text is shared."""
    found = [block for text in said(message) for block in blocks(text)[0]]
    return 2 * sum(len(b) for b in found if b in shared) > sum(map(len, found))


def _early(found: Sequence[str], shared: set[str]) -> str:
    """The first block of its own that stands before a shared one."""
    last = max((i for i, block in enumerate(found) if block in shared), default=-1)
    return next((block for block in found[: last + 1] if block not in shared), "")


def _reordered(text: str, shared: set[str]) -> str:
    found, between = blocks(text)
    if not _early(found, shared):
        return text
    return between.join(sorted(found, key=lambda block: block not in shared))


def _examples(log: Sequence[Entry]) -> Mended:
    """The same examples always in the order that most requests have them in."""
    orders: dict[tuple[bytes, ...], Counter[tuple[bytes, ...]]] = {}
    for entry in log:
        found = tuple(_pairs(entry.body))
        orders.setdefault(tuple(sorted(found)), Counter())[found] += 1
    usual = {key: counts.most_common(1)[0][0] for key, counts in orders.items()}

    def edit(entry: Entry) -> Edited:
        found = tuple(_pairs(entry.body))
        order = usual[tuple(sorted(found))]
        if found == order:
            return entry.body, []
        count = head(entry.body)
        examples: list[Body] = [m for pair in order for m in msgspec.json.decode(pair)]
        rest = messages(entry.body)[count + len(examples) :]
        body = {**entry.body, "messages": [*messages(entry.body)[:count], *examples, *rest]}
        return body, [(f"messages[{count}]", str(messages(entry.body)[count].get("content")))]

    return each(log, edit)


def _pairs(body: Body) -> list[bytes]:
    """Pairs of question and answer between the leading messages and the last one."""
    middle = messages(body)[head(body) : -1]
    pairs = [middle[i : i + 2] for i in range(0, len(middle), 2)]
    if any([m.get("role") for m in pair] != ["user", "assistant"] for pair in pairs):
        return []
    return [msgspec.json.encode(pair) for pair in pairs]


SHARED_FIRST = Rule(
    code="PL006",
    title="a request's own text before text that all share",
    move="put it after the last text that requests share",
    mend=_shared_first,
)
EXAMPLES = Rule(
    code="PL009",
    title="few-shot examples in changing order",
    move="send examples in one order",
    mend=_examples,
)
