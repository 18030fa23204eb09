"""PL007 and PL008: what means the same is written in several ways."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import msgspec

from paceline.lint.log import Body, Entry
from paceline.lint.prompt import blocks, rewritten, texts
from paceline.lint.rules.base import Edited, Mended, Rule, each

Key = Callable[[str], Hashable]
"""What two ways of writing the same have in common; None for what is to be left alone."""


class _Usual:
    """The way of writing that most requests use, by what it means."""

    def __init__(self, key: Key) -> None:
        self._key = key
        self._ways: dict[Hashable, Counter[str]] = defaultdict(Counter)

    def count(self, text: str) -> None:
        """One request writes `text`."""
        key = self._key(text)
        if key is not None:
            self._ways[key][text] += 1

    def of(self, text: str) -> str:
        """How most write it; of two as frequent ways the first in order."""
        ways = self._ways.get(self._key(text))
        return min(ways, key=lambda way: (-ways[way], way)) if ways else text


def _words(block: str) -> Hashable:
    return tuple(block.split()) or None


def _sorted_json(text: str) -> Hashable:
    """The same for objects that differ in the order of their keys only."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return msgspec.json.encode(msgspec.json.decode(text), order="deterministic")
    except msgspec.DecodeError:
        return None


def _mend_spaces(log: Sequence[Entry]) -> Mended:
    """Blocks of the same words are written alike, and so is what parts them."""
    usual, gaps = _Usual(_words), _Usual(lambda gap: "\n" in gap)
    for entry in log:
        for _, text in texts(entry.body):
            found, between = blocks(text)
            gaps.count(between)
            for block in found:
                usual.count(block)
    return each(log, lambda entry: _edit(entry.body, lambda text: _respaced(text, usual, gaps)))


def _respaced(text: str, usual: _Usual, gaps: _Usual) -> str:
    found, between = blocks(text)
    return gaps.of(between).join(usual.of(block) for block in found)


def _mend_keys(log: Sequence[Entry]) -> Mended:
    """Tools, and blocks that are JSON, have their keys in one order."""
    usual = _Usual(_sorted_json)
    for entry in log:
        for tool in entry.body.get("tools") or []:
            usual.count(_json(tool))
        for _, text in texts(entry.body):
            for block in blocks(text)[0]:
                usual.count(block)

    def edit(entry: Entry) -> Edited:
        body, found = _edit(entry.body, lambda text: _rekeyed(text, usual))
        tools = [msgspec.json.decode(usual.of(_json(t))) for t in body.get("tools") or []]
        if _json(tools) != _json(body.get("tools") or []):
            changed = next(t for t in body["tools"] if usual.of(_json(t)) != _json(t))
            return {**body, "tools": tools}, [*found, ("tools", _json(changed))]
        return body, found

    return each(log, edit)


def _rekeyed(text: str, usual: _Usual) -> str:
    for block in blocks(text)[0]:
        text = text.replace(block, usual.of(block), 1)
    return text


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _edit(body: Body, edit: Callable[[str], str]) -> Edited:
    found = [
        (where, _difference(text, made))
        for where, text in texts(body)
        if (made := edit(text)) != text
    ]
    return (rewritten(body, edit) if found else body), found


def _difference(text: str, made: str) -> str:
    """What stands around the first character that differs, white space made visible."""
    at = next((i for i, pair in enumerate(zip(text, made, strict=False)) if len({*pair}) > 1), 0)
    return repr(text[max(0, at - 20) : at + 20])


SPACES = Rule(
    code="PL007",
    title="the same text with different white space",
    move="write it as most requests do",
    mend=_mend_spaces,
)
KEYS = Rule(
    code="PL008",
    title="the same JSON with its keys in another order",
    move="encode it with the keys in one order",
    mend=_mend_keys,
)
