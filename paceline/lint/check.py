"""Runs the rules over a log and counts what each of their breaks costs."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from paceline.lint.log import Entry
from paceline.lint.rules.base import Change, Rule
from paceline.lint.savings import Sharing, sharing


class Finding(Struct, frozen=True, kw_only=True):
    """One rule that is broken."""

    rule: Rule
    changes: list[Change]
    """Where, in the log as the rules before left it."""
    tokens: int
    """Prompt tokens that it alone still costs when everything else is mended."""


class Report(Struct, frozen=True, kw_only=True):
    """A log, what is wrong with it, and the log without that."""

    log: list[Entry]
    findings: list[Finding]
    """By code."""
    mended: list[Entry]
    before: Sharing
    after: Sharing

    @property
    def saved(self) -> int:
        """Prompt tokens that mending all findings spares."""
        return _spared(self.before, self.after)


def check(log: Sequence[Entry], rules: Sequence[Rule]) -> Report:
    """The rules whose mending spares tokens; the others change nothing and are not reported.

    What two rules mend alike is left to the earlier, which is the more particular.
    """
    changes = _mend(log, rules)[1]
    rules = [rule for rule in rules if changes[rule.code]]
    while True:
        mended, changes = _mend(log, rules)
        after = sharing(mended)
        costs = {
            rule.code: _spared(sharing(_mend(log, [r for r in rules if r is not rule])[0]), after)
            for rule in rules
        }
        idle = min(reversed(rules), key=lambda rule: costs[rule.code], default=None)
        if idle is None or costs[idle.code] > 0:
            break
        rules = [rule for rule in rules if rule is not idle]
    findings = [
        Finding(rule=rule, changes=changes[rule.code], tokens=costs[rule.code]) for rule in rules
    ]
    findings.sort(key=lambda finding: finding.rule.code)
    return Report(log=list(log), findings=findings, mended=mended, before=sharing(log), after=after)


def _mend(
    log: Sequence[Entry], rules: Sequence[Rule]
) -> tuple[list[Entry], dict[str, list[Change]]]:
    changes: dict[str, list[Change]] = {}
    mended = list(log)
    for rule in rules:
        step = rule.mend(mended)
        mended, changes[rule.code] = step.log, step.changes
    return mended, changes


def _spared(before: Sharing, after: Sharing) -> int:
    """By what is left to compute: a mended log may be longer or shorter than it was."""
    computed = before.prompt_tokens - before.shared_tokens
    return computed - (after.prompt_tokens - after.shared_tokens)
