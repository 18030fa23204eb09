"""PL001 to PL004: what changes inside a template's text is found, named and moved."""

from __future__ import annotations

from uuid import UUID

import pytest

from paceline.lint.rules.values import PATTERN
from tests.lint.logs import COUNT, HANDBOOK, chat, codes, contents, lint, only


@pytest.mark.parametrize(
    ("code", "form"),
    [
        ("PL001", "Now: 2026-11-22T10:{:02d}:07Z."),
        ("PL001", "It is 10:{:02d} PM."),
        ("PL001", "On Nov 22, 2026 at 9:{:02d}."),
        ("PL001", "Since 17638{:05d}."),
        ("PL002", "Today is 2026-11-{:02d}."),
        ("PL002", "Today is November {}, 2026."),
        ("PL002", "Heute: 3/{}/26."),
        ("PL004", "This is request {} of yours."),
    ],
)
def test_values_by_kind(code: str, form: str) -> None:
    """Each kind has its code, and nothing else is reported for it."""
    report = lint(chat(f"{form.format(i + 1)} {HANDBOOK}", i) for i in range(COUNT))
    assert codes(report) == [code]
    assert len(only(report).changes) == COUNT


@pytest.mark.parametrize("id", [str(UUID(int=7)), f"{255:024x}", "sess_00f0ab12cd34ef56"])
def test_random_ids(id: str) -> None:
    """UUIDs and long hexadecimal names, with or without a prefix."""
    ids = [id, *(id[:-1] + digit for digit in "89abcdef")]
    report = lint(chat(f"Session {each}: {HANDBOOK}", i) for i, each in enumerate(ids))
    assert codes(report) == ["PL003"]


def test_the_value_is_still_said() -> None:
    """A name stays in its place, and the value goes to the end of the last message."""
    report = lint(chat(f"It is 10:{i:02d}. {HANDBOOK}", i) for i in range(COUNT))
    system, question = contents(report.mended[3])
    assert system == f"It is <time>. {HANDBOOK}"
    assert question == "Question d?\n\n<time>: 10:03"
    assert only(report).tokens == report.saved > 0


def test_what_never_changes_stays() -> None:
    """Figures that all requests have are part of the template."""
    assert not codes(
        lint(chat(f"Founded 1987-05-01, 40 people. {HANDBOOK}", i) for i in range(COUNT))
    )


def test_numbered_rules_are_no_values() -> None:
    """Two templates that number their rules differ, and nothing has to move."""
    templates = [
        "\n\n".join(f"Rule {part}.{i}: {HANDBOOK[:80]}" for i in range(9)) for part in (1, 2)
    ]
    assert not codes(lint(chat(templates[i % 2], i) for i in range(COUNT)))


def test_at_the_end_it_breaks_nothing() -> None:
    """A time after all that is shared costs nothing, so nothing is said."""
    assert not codes(lint(chat(f"{HANDBOOK}\n\nIt is 10:{i:02d}.", i) for i in range(COUNT)))


def test_plain_prompts() -> None:
    """A prompt's last paragraph is its question; what stands before is the template's."""
    bodies = [
        {"model": "m", "prompt": f"It is 10:{i:02d}.\n\n{HANDBOOK}\n\nAdd {i} and 2."}
        for i in range(COUNT)
    ]
    report = lint(bodies)
    assert codes(report) == ["PL001"]
    assert report.mended[1].body["prompt"] == (
        f"It is <time>.\n\n{HANDBOOK}\n\nAdd 1 and 2.\n\n<time>: 10:01"
    )


def test_other_endings() -> None:
    """A message of parts gets one more; after an answer or a tool's result comes a new message."""
    parts = [{"type": "text", "text": "See."}]
    endings = (
        {"role": "user", "content": parts},
        {"role": "assistant", "content": "Well,"},
        {"role": "user", "content": ""},
    )
    bodies = [
        {"messages": [{"role": "system", "content": f"At 10:{i}0: {HANDBOOK}"}, ending]}
        for i, ending in enumerate(endings, 1)
    ]
    said = [entry.body["messages"][1:] for entry in lint(bodies).mended]
    assert said == [
        [{"role": "user", "content": [*parts, {"type": "text", "text": "<time>: 10:10"}]}],
        [endings[1], {"role": "user", "content": "<time>: 10:20"}],
        [{"role": "user", "content": "<time>: 10:30"}],
    ]


@pytest.mark.parametrize("text", ["v1.2b", "gpt-4o", "A4", "decade", "deadbeef", "x_12"])
def test_words_with_digits_are_no_values(text: str) -> None:
    """Names of versions and models are left alone."""
    assert not PATTERN.search(text)
