"""A policy from somebody else's distribution is found, described and run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[1] / "plugins" / "paceline-p2c"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the plugin."""
    target = tmp_path_factory.mktemp("site")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", "-q", *options, "--target", str(target)]
    subprocess.run([*command, str(PLUGIN)], check=True, capture_output=True)
    return target


def paceline(installed: Path, *args: str) -> str:
    """What `paceline ARGS` prints where the plugin is installed."""
    path = os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "paceline", *args],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_is_listed_with_its_settings(installed: Path) -> None:
    """`paceline policies` shows it like a built-in one, with the package that brought it."""
    assert (
        "p2c  (paceline-p2c 1.0)\n"
        "  Place on the least loaded of a few backends drawn at random; arrival order.\n"
        "  choices: int = 2\n"
        "      How many backends to draw.\n"
    ) in paceline(installed, "policies")


@pytest.mark.parametrize("name", ["p2c", "paceline_p2c:PowerOfTwo"])
def test_is_configured_by_name_and_by_path(installed: Path, tmp_path: Path, name: str) -> None:
    """The entry point's name and `module:Class` are the same policy."""
    path = tmp_path / "paceline.toml"
    path.write_text(f'[policy]\nname = "{name}"\n[policy.settings]\nchoices = 3\n')
    assert paceline(installed, "check", "-c", str(path)).endswith(f"policy {name}\n")


def test_decides(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scheduler places requests where the foreign policy says."""
    monkeypatch.syspath_prepend(str(installed))
    from paceline.policies.registry import load
    from paceline.scheduler import BackendSpec, Request, Scheduler, SchedulerConfig
    from paceline.scheduler.events import Arrived, BackendChanged, Dispatch

    scheduler = Scheduler(SchedulerConfig(), load("p2c", {}), 1)
    for name in ("a", "b"):
        scheduler.handle(BackendChanged(BackendSpec(id=name, models=("m",))), 0.0)
    sent: list[str] = []
    for i, now in enumerate((1.0, 2.0)):
        request = Request(id=str(i), arrived_at=now, model="m", prompt_tokens=1000)
        (action,) = scheduler.handle(Arrived(request), now)
        assert isinstance(action, Dispatch)
        sent.append(action.backend)
    assert sorted(sent) == ["a", "b"]
