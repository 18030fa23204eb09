"""Logs of the tests: requests of one template, each with something of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from paceline.lint.check import Finding, Report, check
from paceline.lint.log import Entry
from paceline.lint.rules.registry import RULES

Body = dict[str, Any]

HANDBOOK = "\n".join(
    f"Section {name}: be calm, cite the handbook and answer in at most five sentences."
    for name in "abcdefghijklmnopqrst"
)
"""About 1,600 characters that all prompts share."""
COUNT = 10


def chat(system: str, number: int = 0, **fields: Any) -> Body:
    """A chat with a system message and a question of its own."""
    messages = [
        {"role": "system", "content": system},
        {"role": "user", "content": f"Question {'abcdefghijklmnopqrst'[number]}?"},
    ]
    return {"model": "m", "messages": messages, "max_tokens": 5, **fields}


def log(bodies: Iterable[Body], tenants: Iterable[str] = ()) -> list[Entry]:
    """The bodies as a log."""
    entries = [Entry(line, body) for line, body in enumerate(bodies, 1)]
    for entry, tenant in zip(entries, tenants, strict=False):
        entry.tenant = tenant
    return entries


def lint(bodies: Iterable[Body], tenants: Iterable[str] = ()) -> Report:
    """All rules over them."""
    return check(log(bodies, tenants), RULES)


def codes(report: Report) -> list[str]:
    """What was found."""
    return [finding.rule.code for finding in report.findings]


def only(report: Report) -> Finding:
    """The one finding."""
    (finding,) = report.findings
    return finding


def contents(entry: Entry) -> list[str]:
    """What its messages say."""
    return [message["content"] for message in entry.body["messages"]]


def write(path: Path, bodies: Iterable[Body]) -> Path:
    """A file with a request a line."""
    path.write_text("".join(json.dumps({"body": body}) + "\n" for body in bodies))
    return path
