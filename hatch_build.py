"""Compiles what decides and what simulates with mypyc, when `HATCH_BUILD_HOOKS_ENABLE=1` says so.

The wheel then has both: the same modules as source and, found first, as machine code.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDERS = ("paceline/scheduler", "paceline/engines/model")
"""Where compiling pays: docs/performance.md has the figures, those of the proxy too."""
STRUCT = "(Struct"
"""Modules that define one stay as they are: mypyc passes neither a class's keywords nor all of its
annotations on to msgspec."""


class CompileHook(BuildHookInterface[BuilderConfig]):
    """Adds extension modules to a wheel and names its platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile into a folder that lasts until the wheel is made; an editable wheel has none."""
        if version == "editable":
            return
        self._folder = TemporaryDirectory(prefix="paceline-build-")
        folder = Path(self._folder.name)
        build_data["infer_tag"] = True
        build_data["pure_python"] = False
        for path in _compile(Path(self.root), folder):
            build_data["force_include"][str(path)] = str(path.relative_to(folder / "lib"))

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove that folder."""
        if version != "editable":
            self._folder.cleanup()


def sources(root: Path) -> list[str]:
    """The modules to compile, relative to `root`."""
    found = [path for folder in FOLDERS for path in sorted((root / folder).glob("[!_]*.py"))]
    return [str(p.relative_to(root)) for p in found if STRUCT not in p.read_text("utf-8")]


def _compile(root: Path, folder: Path) -> list[Path]:
    """The extension modules of all sources, below `folder`/lib; SystemExit where mypy objects."""
    from mypyc.build import mypycify  # only there when asked for
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    os.chdir(root)
    extensions = mypycify(sources(root), group_name="paceline", target_dir=str(folder / "c"))
    command = build_ext(Distribution({"name": "paceline", "ext_modules": extensions}))
    command.build_lib, command.build_temp = str(folder / "lib"), str(folder / "temp")
    command.ensure_finalized()
    command.run()
    return [Path(path) for path in command.get_outputs()]
