"""What `pip install .` brings is complete."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from paceline import __version__

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel made from it."""
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, "sdist", folder)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    build(folder / sdist.name.removesuffix(".tar.gz"), "wheel", folder)
    return folder


def build(source: Path, target: str, folder: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)


def test_the_wheel_is_complete(dist: Path) -> None:
    """Every module, the type marker, the licence, the entry points; and nothing else."""
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = f"paceline-{__version__}.dist-info"
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "paceline").rglob("*.py")}
    modules |= {str(p.relative_to(ROOT)) for p in (ROOT / "paceline").rglob("static/*")}
    assert modules | {"paceline/py.typed", f"{info}/licenses/LICENSE"} <= names
    assert {name.partition("/")[0] for name in names} == {"paceline", info}
    assert "paceline = paceline.cli:main" in entry_points
    assert "fcfs = paceline.policies.fcfs:Fcfs" in entry_points


def test_the_sdist_has_what_tests_need(dist: Path) -> None:
    """Sources, tests, documentation and the lock file travel together."""
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "uv.lock"}
    assert wanted | {"scripts/test", "docs/configuration.md", "tests/test_packaging.py"} <= names


def test_versions_agree() -> None:
    """pyproject.toml, the package and the changelog tell the same version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == __version__
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_lock_file_names_public_hosts_only() -> None:
    """Anybody can install what is locked."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    for package in lock["package"]:
        assert package["source"] in ({"registry": "https://pypi.org/simple"}, {"editable": "."})
        files = [*package.get("wheels", []), *filter(None, [package.get("sdist")])]
        assert all(f["url"].startswith("https://files.pythonhosted.org/") for f in files)
