"""PL010 and PL011: fields beside the prompt that part what could be shared: salts, model names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from paceline.lint.log import Entry
from paceline.lint.rules.base import Edited, Mended, Rule, each


def _mend_salts(log: Sequence[Entry]) -> Mended:
    """One salt a tenant, its first: salts are there to keep tenants apart."""
    first: dict[str, str] = {}
    for entry in log:
        if entry.body.get("cache_salt"):
            first.setdefault(entry.tenant, entry.body["cache_salt"])

    def edit(entry: Entry) -> Edited:
        salt = entry.body.get("cache_salt")
        if not salt or salt == first[entry.tenant]:
            return entry.body, []
        return {**entry.body, "cache_salt": first[entry.tenant]}, [("cache_salt", str(salt))]

    return each(log, edit)


def _mend_names(log: Sequence[Entry]) -> Mended:
    """Names that differ in case, organisation or tag only become the one that most requests use."""
    ways: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in log:
        name = str(entry.body.get("model") or "")
        ways[_plain(name)][name] += 1
    usual = {plain: min(found, key=lambda n: (-found[n], n)) for plain, found in ways.items()}

    def edit(entry: Entry) -> Edited:
        name = str(entry.body.get("model") or "")
        if name == usual[_plain(name)]:
            return entry.body, []
        return {**entry.body, "model": usual[_plain(name)]}, [("model", name)]

    return each(log, edit)


def _plain(name: str) -> str:
    return name.rpartition("/")[2].partition(":")[0].lower().removesuffix("-latest")


SALTS = Rule(
    code="PL010",
    title="a cache_salt that changes within one tenant",
    move="use one salt a tenant",
    mend=_mend_salts,
)
NAMES = Rule(
    code="PL011",
    title="one model under several names",
    move="ask for it by one name",
    mend=_mend_names,
)
