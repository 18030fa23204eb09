"""The page of commands says what the commands say."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from paceline.cli import cli
from paceline.cli_reference import reference

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"


def test_the_page_is_up_to_date() -> None:
    """docs/cli.md is what scripts/docs would write now."""
    assert PAGE.read_text() == reference()


def test_every_command_is_there() -> None:
    """Those that `paceline --help` lists, and those below them."""
    listed = CliRunner().invoke(cli, ["--help"]).stdout.partition("Commands:\n")[2]
    names = [line.split()[0] for line in listed.splitlines() if line[2:3] != " "]
    assert len(names) > 7
    assert all(f"\n## paceline {name}\n" in reference() for name in [*names, "policies new"])


def test_examples_are_blocks_of_code() -> None:
    """One command a line, as the commands' help has them."""
    assert "\n```sh\npaceline plan ./Llama-3.1-8B --gpu h100 --up up.toml\n" in reference()
    assert "\b" not in reference()


def test_every_option_is_explained() -> None:
    """No row lacks its words."""
    rows = [line for line in reference().splitlines() if line.startswith("| `-")]
    assert len(rows) > 60
    assert not [row for row in rows if row.endswith("|  |")]
