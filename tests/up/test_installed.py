"""Whether an engine's program is there is asked where the engine will look."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from paceline.proxy.process.load import ConfigError
from paceline.up.config import EngineConfig
from paceline.up.installed import check


async def test_modules_are_looked_for_with_the_engines_own_path(tmp_path: Path) -> None:
    """A PYTHONPATH in `env` brings the engine."""
    (tmp_path / "vllm.py").touch()
    engine = EngineConfig(kind="vllm", model="m", name="m", env={"PYTHONPATH": str(tmp_path)})
    await check([engine], "up.toml")
    with pytest.raises(ConfigError, match=r"up\.toml: \$\.engines\[0\] \(m\): vllm is not install"):
        await check([EngineConfig(kind="vllm", model="m", name="m")], "up.toml")


async def test_programs_are_looked_for_on_the_engines_own_path(tmp_path: Path) -> None:
    """A PATH in `env` brings the program."""
    (tmp_path / "mine").symlink_to(sys.executable)
    engine = EngineConfig(
        kind="vllm", model="m", name="m", command=["mine"], env={"PATH": str(tmp_path)}
    )
    await check([engine], "up.toml")
    with pytest.raises(ConfigError, match="there is no program mine"):
        await check([EngineConfig(kind="vllm", model="m", name="m", command=["mine"])], "up.toml")
