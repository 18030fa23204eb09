"""The page about `paceline up` says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

from paceline.proxy.reference import section
from paceline.up.command import command
from paceline.up.config import EngineConfig, UpConfig
from paceline.up.load import load
from paceline.up.remedy import remedy
from tests.up.test_remedy import FREE

PAGE = (Path(__file__).parents[2] / "docs" / "up.md").read_text()


def test_every_setting_is_there() -> None:
    """Both tables are those that the docstrings make."""
    assert section("[[engines]]", EngineConfig) in PAGE
    assert section("[up]", UpConfig) in PAGE


def test_the_example_becomes_the_commands_shown(tmp_path: Path) -> None:
    """But for the ports, which were free once."""
    example, rules = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    (tmp_path / "up.toml").write_text(example)
    loaded = load(tmp_path / "up.toml")
    made = "\n".join(str(command(engine)) for engine in loaded.engines)
    assert re.sub(r"--port \d+", "", made) in re.sub(r"--port \d+", "", PAGE)
    (tmp_path / "up.toml").write_text(f"{example.partition('[[rules]]')[0]}{rules}")
    assert len(load(tmp_path / "up.toml").config.rules) == 5


def test_the_error_shown_is_the_error() -> None:
    """With vLLM's own figures in it."""
    assert remedy(1, [FREE]) in PAGE
