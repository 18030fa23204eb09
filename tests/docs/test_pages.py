"""Each block of code in README.md and docs/ does what its page says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from paceline.proxy.access.keys import make
from tests.docs.blocks import blocks
from tests.docs.perform import ROOT, Stage, shim
from tests.served import served

PAGES = [
    page
    for page in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
    if blocks(page.read_text())
]
FLEET = """
[admin]
keys_file = "admins"

[[backends]]
url = "http://127.0.0.1:9"
name = "10.0.0.7:8000"
kind = "vllm"
"""
"""With the one backend that the pages drain; nobody listens on port 9 (RFC 863: discard)."""


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Callable[[], str], str]]:
    """Starts the proxy when a page first asks it, and gives its address; and an admin's key."""
    folder = tmp_path_factory.mktemp("fleet")
    key, line = make("ops")
    (folder / "admins").write_text(line)
    (folder / "fleet.toml").write_text(FLEET.replace("admins", str(folder / "admins")))
    with ExitStack() as stack:
        config = str(folder / "fleet.toml")
        yield cache(lambda: stack.enter_context(served("-c", config))), key


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_keeps_its_word(
    page: Path,
    proxy: tuple[Callable[[], str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every block is run, checked, parsed, tested elsewhere, or says why it is only shown."""
    folder = tmp_path / page.stem
    folder.mkdir()
    shim(tmp_path / "bin")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    stage = Stage(folder, *proxy)
    for block in blocks(page.read_text()):
        stage.perform(block)
