"""A report as text for a terminal, and as one JSON object."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from paceline.lint.check import Finding, Report
from paceline.lint.log import Body, Entry
from paceline.lint.prompt import messages
from paceline.lint.rules.base import short
from paceline.lint.savings import Sharing

CONTEXT = 1
"""Unchanged lines around each change of a template."""
WIDTH = 100


def as_text(source: str, report: Report, skipped: int) -> str:
    """A line a finding, the template of the first request rewritten, and what all of it saves."""
    lines = [_line(source, report, finding) for finding in report.findings]
    if report.findings:
        lines += ["", *_diff(*_example(report)), ""]
    lines.append(_summary(report))
    if skipped:
        lines.append(f"{skipped} requests were left out")
    return "\n".join(lines)


def _line(source: str, report: Report, finding: Finding) -> str:
    first = finding.changes[0]
    return (
        f"{source}:{report.log[first.index].line}: {finding.rule.code} {finding.rule.title}: "
        f"{first.where} has `{first.what}`; in {_requests(finding)} of {len(report.log)} requests, "
        f"costs {finding.tokens:,} tokens; {finding.rule.move}"
    )


def _requests(finding: Finding) -> int:
    return len({change.index for change in finding.changes})


def _example(report: Report) -> tuple[Entry, Entry]:
    """The first request that the most rules change, as it is and as it would be."""
    touched = Counter(
        index for finding in report.findings for index in {c.index for c in finding.changes}
    )
    index = max(touched, key=lambda index: (touched[index], -index))
    return report.log[index], report.mended[index]


def _diff(before: Entry, after: Entry) -> list[str]:
    """What to change in the template, as a unified diff of one request."""
    lines = difflib.unified_diff(
        _rendered(before.body),
        _rendered(after.body),
        f"request {before.line}",
        "rewritten",
        n=CONTEXT,
        lineterm="",
    )
    return [line[:1] + short(line[1:], WIDTH) for line in lines]


def _rendered(body: Body) -> list[str]:
    """A request line by line, in the order in which engines put it together."""
    lines = [f"{key}: {body[key]}" for key in ("model", "cache_salt") if body.get(key)]
    lines += [f"tool: {msgspec.json.encode(tool).decode()}" for tool in body.get("tools") or []]
    if isinstance(body.get("prompt"), str):
        lines += body["prompt"].splitlines()
    for message in messages(body):
        lines += [f"{message.get('role')}:", *str(message.get("content")).splitlines()]
    return lines


def _summary(report: Report) -> str:
    counts = f"{len(report.log)} requests, {report.before.prompt_tokens:,} prompt tokens"
    now = f"{_part(report.before):.0%} shared"
    if not report.findings:
        return f"{counts}, {now}: nothing breaks prefixes"
    return (
        f"{counts}: {now} as they are, {_part(report.after):.0%} rewritten, "
        f"{report.saved:,} tokens less to compute"
    )


def _part(found: Sharing) -> float:
    return found.shared_tokens / found.prompt_tokens if found.prompt_tokens else 0.0


def as_json(report: Report, skipped: int) -> bytes:
    """One object: `findings[]`, the sums, and one request before and after."""
    document: dict[str, Any] = {
        "requests": len(report.log),
        "skipped_rows": skipped,
        "before": report.before,
        "after": report.after,
        "saved_tokens": report.saved,
        "findings": _findings(report.findings, report.log),
        "template": None,
    }
    if report.findings:
        before, after = _example(report)
        document["template"] = {"line": before.line, "before": before.body, "after": after.body}
    return msgspec.json.encode(document)


def _findings(findings: Sequence[Finding], log: Sequence[Entry]) -> list[dict[str, Any]]:
    return [
        {
            "code": finding.rule.code,
            "title": finding.rule.title,
            "move": finding.rule.move,
            "line": log[finding.changes[0].index].line,
            "where": finding.changes[0].where,
            "what": finding.changes[0].what,
            "requests": _requests(finding),
            "tokens": finding.tokens,
        }
        for finding in findings
    ]
