"""The runner of the pages' code notices what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from paceline.proxy.process.load import ConfigError
from tests.docs.blocks import blocks
from tests.docs.perform import Stage, commands, shim


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """With nothing behind it."""
    shim(tmp_path / "bin")
    folder = tmp_path / "page"
    folder.mkdir()
    return Stage(folder, lambda: "http://127.0.0.1:9", "key")


def perform(stage: Stage, page: str) -> None:
    """All blocks of a page."""
    for block in blocks(page):
        stage.perform(block)


def test_a_page_that_is_right_passes(stage: Stage) -> None:
    """Blocks see the files that blocks before them left, and where the proxy is."""
    perform(
        stage,
        "<!-- setup: echo there > file -->\n<!-- example: run -->\n"
        '```sh\n[ "$(cat file)" = there ]\n```\n\n'
        "<!-- example: save a.py -->\n```python\nx = 1\n```\n"
        "<!-- example: run -->\n```python\nassert 'http://127.0.0.1:8000'.endswith(':9')\n```\n"
        '```toml\n[policy]\nname = "lpm"\n```\n',
    )


@pytest.mark.parametrize(
    ("page", "wrong"),
    [
        ("```sh\ntrue\n```", "say in a comment"),
        ("```yaml\na: 1\n```", "say in a comment"),
        ("<!-- example: shown -->\n```yaml\na: 1\n```", "say why"),
        ("<!-- example: tested tests/docs/test_pages.py::none -->\n```\n```", "is no test"),
        ("<!-- example: run -->\n```sh\nfalse\ntrue\n```", "false\ntrue"),
        ("<!-- example: run -->\n```python\nraise ValueError('no')\n```", "no"),
        ("<!-- example: parse -->\n```sh\npaceline serve --no-such\n```", "No such option"),
        ("<!-- example: parse -->\n```sh\npaceline policies knew\n```", "No such command"),
        ("<!-- example: parse -->\n```sh\nscripts/no-such-script\n```", "no-such-script"),
        ("<!-- example: parse -->\n```sh\npython -m bench.nothing\n```", "bench.nothing"),
        ("```toml\n[server]\nprt = 1\n```", "unknown key"),
    ],
)
def test_a_page_that_is_wrong_fails(stage: Stage, page: str, wrong: str) -> None:
    """Whether nothing says what to do with a block, or it does not do it."""
    assert len(blocks(page)) == 1
    with pytest.raises((AssertionError, ValueError, click.UsageError, ConfigError)) as raised:
        perform(stage, page)
    assert wrong in str(raised.value)


def test_commands_are_told_from_what_surrounds_them() -> None:
    """Comments, variables, pipes, quotations of several lines."""
    code = "A=1 paceline key x >> keys  # why\n\nvllm serve '{a,\n b}' \\\n  --c $(d e)\n"
    assert list(commands(code)) == [
        ["paceline", "key", "x"],
        ["vllm", "serve", "{a, b}", "--c", "1"],
    ]
