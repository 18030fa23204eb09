"""Does with a block of code what its page promises that it does."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import click

from paceline.cli import cli
from paceline.proxy.process.load import load_config
from paceline.proxy.process.secure import secure
from tests.docs.blocks import Block

ROOT = Path(__file__).parents[2]
DEFAULT = "http://127.0.0.1:8000"
"""Where the pages say that the proxy is."""
PATIENCE = 50.0
"""Seconds that a block may take."""


class Stage:
    """A folder of its own for each page, and a running proxy for those that ask one."""

    def __init__(self, folder: Path, proxy: Callable[[], str], key: str) -> None:
        self.folder = folder
        self._proxy = proxy
        self._key = key

    def perform(self, block: Block) -> None:
        """Fails with what went wrong."""
        if block.setup:
            self._bash(block.setup)
        actions = {
            "run": self._python if block.language == "python" else self._run,
            "check": self._check,
            "parse": self._parse,
            "save": self._save,
            "tested": self._tested,
            "shown": self._shown,
        }
        assert block.action in actions, f"line {block.line}: say in a comment what is to be done"
        actions[block.action](block)

    def _run(self, block: Block) -> None:
        self._bash(self._addressed(block.code))

    def _bash(self, script: str) -> None:
        """Any command that fails ends the script, and fails the test."""
        path = self.folder.parent / "bin"
        environment = os.environ | {
            "PATH": f"{path}:{os.environ['PATH']}",
            "ADMIN": self._key,
            "TESTS": str(ROOT / "tests"),
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"

    def _python(self, block: Block) -> None:
        exec(compile(self._addressed(block.code), f"line {block.line}", "exec"), {})

    def _addressed(self, code: str) -> str:
        return code.replace(DEFAULT, self._proxy()) if DEFAULT in code else code

    def _check(self, block: Block) -> None:
        """As `paceline check` does."""
        path = self.folder / "paceline.toml"
        path.write_text(block.code)
        secure(load_config(path))

    def _save(self, block: Block) -> None:
        (self.folder / block.detail).write_text(block.code)
        if block.language == "python":
            compile(block.code, block.detail, "exec")

    def _parse(self, block: Block) -> None:
        """The shell can read it, and what it calls of ours exists and has these options."""
        subprocess.run(["bash", "-n", "-c", block.code], check=True, timeout=PATIENCE)
        for command in commands(block.code):
            understood(command)

    def _tested(self, block: Block) -> None:
        path, _, name = block.detail.partition("::")
        assert name, "name the test as FILE::TEST"
        assert f"def {name}(" in (ROOT / path).read_text(), f"{block.detail} is no test"

    def _shown(self, block: Block) -> None:
        assert block.detail, "say why it is only shown"


def commands(code: str) -> Iterator[list[str]]:
    """The words of each command, without comments, assignments, pipes and redirections."""
    unread = ""
    for line in re.sub(r"\$\([^)]*\)", "1", code.replace("\\\n", " ")).splitlines():
        unread += line
        try:
            words = shlex.split(unread, comments=True)
        except ValueError:  # a quotation that goes on in the next line
            continue
        unread = ""
        if words:
            yield _bare(words)


def _bare(words: list[str]) -> list[str]:
    start = next(i for i, word in enumerate(words) if not re.match(r"\w+=", word))
    end = next((i for i, word in enumerate(words) if word in (">", ">>", "|", "&&")), len(words))
    return [word for word in words[start:end] if word != "..."]


def understood(words: list[str]) -> None:
    """Fails if this is a command of ours that does not exist, or not with these options."""
    program, *arguments = words
    if program == "paceline":
        command: click.Command = cli
        while isinstance(command, click.Group) and arguments:
            name, found, arguments = command.resolve_command(click.Context(command), arguments)
            assert found is not None
            program, command = str(name), found
        command.make_context(program, arguments)
    elif program.startswith("python") and arguments[:1] == ["-m"]:
        if arguments[1].partition(".")[0] in ("paceline", "bench", "tests"):
            assert find_spec(arguments[1]), arguments[1]
    elif "/" in program and not program.startswith("/"):
        assert (ROOT / program).exists(), program


def shim(folder: Path) -> None:
    """Puts `paceline` and `python`, as they are here, into `folder`."""
    folder.mkdir()
    for name, arguments in (("paceline", " -m paceline"), ("python", "")):
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}"{arguments} "$@"\n')
        script.chmod(0o755)
