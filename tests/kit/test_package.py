"""`paceline policies new` writes a package that installs, is typed, and passes its own tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from paceline.cli import cli


def new(*args: object) -> Result:
    """What `paceline policies new` does with these arguments."""
    return CliRunner().invoke(cli, ["policies", "new", *map(str, args)])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package that the command wrote."""
    result = new("quick-first", "--into", tmp_path_factory.mktemp("made"))
    assert result.exit_code == 0, result.output
    return Path(result.stdout.strip())


@pytest.fixture(scope="module")
def installed(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has built and installed it."""
    target = tmp_path_factory.mktemp("site")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", "-q", *options, "--target", str(target)]
    subprocess.run([*command, str(written)], check=True, capture_output=True)
    return target


def python(installed: Path, folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """What `python -m ARGS` does in `folder` where the package is installed."""
    path = os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", *args],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "PYTEST_ADDOPTS": "-p no:cacheprovider"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_its_tests_pass(written: Path, installed: Path) -> None:
    """Its own tests, which run the simulator, pass as they are written."""
    result = python(installed, written, "pytest", "-q")
    assert result.returncode == 0, result.stdout
    assert "5 passed" in result.stdout


def test_it_is_listed(written: Path, installed: Path) -> None:
    """`paceline policies` shows it with its package and its setting."""
    listed = python(installed, written, "paceline", "policies").stdout
    assert "quick-first  (paceline-quick-first 0.1.0)\n" in listed
    assert "tokens_per_second: float = 1000.0\n" in listed


def test_it_is_typed_and_complete(written: Path, installed: Path) -> None:
    """The marker for type checkers is installed, and nothing of the template is left."""
    assert (installed / "paceline_quick_first" / "py.typed").exists()
    files = [path for path in written.rglob("*") if path.is_file()]
    assert {"README.md", "pyproject.toml", "test_policy.py"} <= {path.name for path in files}
    assert not any("${" in path.read_text() for path in files)


@pytest.mark.parametrize("name", ["Quick", "quick_first", "2nd", "a--b", "a-", "", "none", "../x"])
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    """Nothing is written for a name that no policy may have."""
    result = new(name, "--into", tmp_path)
    assert (result.exit_code, list(tmp_path.iterdir())) == (1, [])
    assert "small letters" in result.output


def test_names_that_are_taken(tmp_path: Path) -> None:
    """An installed policy's name is refused, with the package that has it."""
    assert "`lpm` is a policy of paceline" in new("lpm", "--into", tmp_path).output


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A folder that is there stays as it is."""
    (tmp_path / "paceline-mine").mkdir()
    assert "there is something already" in new("mine", "--into", tmp_path).output
    (tmp_path / "file").write_text("")
    assert "Not a directory" in new("mine", "--into", tmp_path / "file" / "x").output
    assert not list((tmp_path / "paceline-mine").iterdir())
