"""The files of deploy/, and the tools that validate them where they are installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def run(name: str, *arguments: str | Path, cwd: Path = ROOT) -> str:
    """What the tool says if it is content; skips the test where there is no such tool."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which(name, path=beside) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    done = subprocess.run([found, *arguments], capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def load(path: str) -> Any:
    """A YAML file with one document."""
    return yaml.load((DEPLOY / path).read_text(), yaml.CSafeLoader)


def documents(text: str) -> list[dict[str, Any]]:
    """The documents of YAML text, empty ones left out."""
    return [one for one in yaml.load_all(text, yaml.CSafeLoader) if one]
