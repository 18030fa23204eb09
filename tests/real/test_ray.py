"""`paceline sim --ray` on a real Ray cluster of this machine's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.process import CHECKOUT

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

LOOSE = """
from paceline.scheduler import Policy, Request, View

class Last(Policy):
    def order(self, request: Request, view: View) -> tuple[float, ...]:
        return (-request.arrived_at,)
"""


def sim(folder: Path, *args: str) -> str:
    """What `paceline sim --json` prints, run in `folder`."""
    command = [sys.executable, "-m", "paceline", "sim", "--json", "--seeds", "2", *args]
    command += ["--policy", "fcfs,last:Last", "--groups", "4", "--kv-tokens", "20000"]
    path = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_cluster_changes_nothing(tmp_path: Path) -> None:
    """The same bytes as without it, a loose policy's too."""
    (tmp_path / "last.py").write_text(LOOSE)
    assert sim(tmp_path, "--ray", "local") == sim(tmp_path, "--jobs", "1")
