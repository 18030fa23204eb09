"""The docs site builds offline, the tutorial does what it says, tables name what exists."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from msgspec import Struct

from paceline.proxy.config import BackendConfig, Config, DiscoveryConfig, ModelConfig
from paceline.proxy.process.load import load_config
from tests.served import served

ROOT = Path(__file__).parents[1]
TUTORIAL = (ROOT / "docs/tutorial.md").read_text()
ANSWERS = 60.0
"""Seconds until whatever the tutorial runs has to be done."""


def blocks(language: str) -> list[str]:
    """The tutorial's code in this language, continued lines joined."""
    found = re.findall(rf"```{language}\n(.*?)```", TUTORIAL, re.S)
    return [block.replace("\\\n", " ") for block in found]


@pytest.fixture
def base() -> Iterator[str]:
    """The address of what the tutorial's first step starts."""
    with served() as base:
        yield base


async def output(*command: str) -> str:
    """What a command prints; fails if it does."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), ANSWERS)
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_the_tutorial_asks_and_is_answered(base: str) -> None:
    """Its curl line gets a completion and the headers that it explains."""
    (curl,) = [block for block in blocks("sh") if block.startswith("curl")]
    said = await output("bash", "-c", curl.replace("http://127.0.0.1:8000", base))
    assert said.startswith("HTTP/1.1 200")
    assert "x-paceline-backend: emulated-" in said
    assert "x-paceline-queue-ms: " in said


async def test_the_tutorials_families_hit_the_cache(base: str, tmp_path: Path) -> None:
    """Its script runs, and most of the prompt tokens were cached, as it says."""
    (script,) = blocks("python")
    (tmp_path / "families.py").write_text(script)
    said = await output(sys.executable, str(tmp_path / "families.py"), base)
    assert int(said.partition("%")[0]) > 50


async def test_the_tutorials_simulation_runs() -> None:
    """Its command knows the policies and prints a row each."""
    (block,) = [block for block in blocks("sh") if block.startswith("paceline sim")]
    said = await output(sys.executable, "-m", *block.split())
    assert re.search(r"^fcfs .*^auto ", said, re.M | re.S)


def test_the_tutorials_configuration_loads(tmp_path: Path) -> None:
    """Its file is complete."""
    (toml,) = blocks("toml")
    (tmp_path / "paceline.toml").write_text(toml)
    assert len(load_config(tmp_path / "paceline.toml").backends) == 2


def test_migration_names_settings_that_exist() -> None:
    """Each setting in the table of flags is one of the configuration's."""
    table = (ROOT / "docs/compare.md").read_text().partition("| flag | here |")[2]
    rows = re.findall(r"^\| `--[^|]*\|([^|]*)\|", table, re.M)
    assert len(rows) > 20
    for row in rows:
        for setting in re.findall(r"`([\w.]+)`", row):
            assert exists(setting), setting


def exists(setting: str) -> bool:
    """Whether the configuration has a setting of this path."""
    section, _, key = setting.partition(".")
    lists: dict[str, type[Struct]] = {
        "backends": BackendConfig,
        "discovery": DiscoveryConfig,
        "models": ModelConfig,
    }
    tables = {one.name: one.type for one in msgspec.structs.fields(Config)} | lists
    return key in {one.name for one in msgspec.structs.fields(tables[section])}


def test_every_page_is_in_the_contents_and_on_the_front_page() -> None:
    """A page that nothing leads to is not read; mkdocs need not be installed to see it."""
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    named = re.findall(r"[\w/-]+\.md$", (ROOT / "mkdocs.yml").read_text(), re.M)
    assert sorted(named) == sorted(pages)
    linked = re.findall(r"\]\(([\w/-]+\.md)\)", (ROOT / "docs/index.md").read_text())
    assert set(linked) == pages - {"index.md"}
    readme = re.findall(r"\]\(docs/([\w/-]+\.md)\)", (ROOT / "README.md").read_text())
    assert set(readme) == pages - {"index.md"}


def test_the_site_builds_and_fetches_nothing(tmp_path: Path) -> None:
    """Every page is in the contents, every link leads somewhere, all assets are its own."""
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=quiet, check=False)
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(list((ROOT / "docs").rglob("*.md")))  # and the one for 404
    for page in pages:
        html = page.read_text()
        fetched = re.findall(r"<(?:script|img|iframe)[^>]* src=\"?([^\" >]+)", html)
        fetched += re.findall(r"<link[^>]* href=\"?([^\" >]+)", html)
        assert not [one for one in fetched if urlsplit(one).netloc], page.name
        assert "\\|" not in html, page.name
