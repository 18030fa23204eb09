"""All rules, in the order in which they mend, and which of them are asked for."""

from __future__ import annotations

from collections.abc import Sequence

from paceline.lint.errors import LintError
from paceline.lint.rules.base import Rule
from paceline.lint.rules.cache import NAMES, SALTS
from paceline.lint.rules.order import EXAMPLES, SHARED_FIRST
from paceline.lint.rules.tools import TOOLS
from paceline.lint.rules.values import DATE, ID, NUMBER, TIME
from paceline.lint.rules.variants import KEYS, SPACES

RULES = (NAMES, SALTS, SPACES, KEYS, TOOLS, TIME, DATE, ID, NUMBER, EXAMPLES, SHARED_FIRST)
"""Spelling before values, since values are compared block by block; what is moved comes last."""


def chosen(select: Sequence[str], ignore: Sequence[str]) -> list[Rule]:
    """Rules whose codes begin with one of `select`, but not of `ignore`; LintError for a typo."""
    for prefix in (*select, *ignore):
        if not any(rule.code.startswith(prefix) for rule in RULES):
            known = ", ".join(sorted(rule.code for rule in RULES))
            raise LintError(f"no rule `{prefix}`; known: {known}")
    return [
        rule
        for rule in RULES
        if rule.code.startswith(tuple(select) or "") and not rule.code.startswith(tuple(ignore))
    ]
