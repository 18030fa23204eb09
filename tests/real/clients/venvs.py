"""Clients that need packages of their own: each is installed once, beside the engines."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.real import layout

TAIL_LINES = 15


class NotInstalled(Exception):
    """A client could not be installed; the message ends with what pip said."""


@dataclass(frozen=True)
class Client:
    """One client in a virtual environment that is named after it and its version."""

    name: str
    packages: tuple[str, ...]
    """What pip is told to install."""

    @property
    def folder(self) -> Path:
        """Its virtual environment."""
        return layout.root() / self.name

    def program(self, name: str) -> str:
        """The path of a command that it installed."""
        return str(self.folder / "bin" / name)

    def install(self) -> None:
        """Make the environment, unless that was done before; raises NotInstalled."""
        if (self.folder / layout.MARKER).is_file():
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        log = self.folder.with_suffix(f"{self.folder.suffix}.log")
        pip = ["-m", "pip", "--disable-pip-version-check", "install", "--progress-bar", "off"]
        try:
            with log.open("w") as out:
                for command in (
                    [sys.executable, "-m", "venv", str(self.folder)],
                    [self.program("python"), *pip, *self.packages],
                ):
                    subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            tail = log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
            raise NotInstalled("\n".join([f"{self.name}: {error}", *tail])) from None
        (self.folder / layout.MARKER).touch()


AIPERF = Client("aiperf-0.13.0", ("aiperf==0.13.0",))
GUIDELLM = Client("guidellm-0.8.1", ("torch==2.13.0", "guidellm==0.8.1"))
LANGCHAIN = Client("langchain-openai-1.7.3", ("langchain-openai==1.7.3", "langchain-core==1.7.2"))
LITELLM = Client("litellm-1.106.2", ("litellm[proxy]==1.106.2",))


def environment() -> dict[str, str]:
    """What these clients run in: nothing of this checkout's own environment, and no telemetry."""
    dropped = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | {
        "TOKENIZERS_PARALLELISM": "false",
        "DO_NOT_TRACK": "1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # or it is fetched from GitHub
    }
