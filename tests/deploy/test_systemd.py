"""The unit starts the proxy with as few rights as it needs, and lets it drain."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from paceline.cli import cli
from paceline.proxy.config import ServerConfig
from tests.deploy.files import DEPLOY, run

UNIT = (DEPLOY / "systemd/paceline.service").read_text()


def settings(name: str) -> list[str]:
    """All values of a setting."""
    return re.findall(rf"^{name}=(.*)$", UNIT, re.M)


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say about it, once its program exists."""
    program = re.sub(r"/opt/paceline/bin/paceline", sys.executable, UNIT)
    (tmp_path / "paceline.service").write_text(program)
    assert not run("systemd-analyze", "verify", "--man=no", tmp_path / "paceline.service")


def test_it_is_exposed_little() -> None:
    """systemd's own score, 0 for a sealed service and 10 for an open one, is below 2."""
    unit = DEPLOY / "systemd/paceline.service"
    report = run("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    assert float(report.split("exposure level for paceline.service: ")[1].split()[0]) < 2


def test_it_runs_as_nobody() -> None:
    """No root, no capabilities, nothing to write but its own folder."""
    assert settings("DynamicUser") == ["yes"]
    assert settings("CapabilityBoundingSet") == [""]
    assert settings("ProtectSystem") == ["strict"]


def test_its_commands_exist() -> None:
    """It calls subcommands that the program has, and checks before it starts and reloads."""
    commands = [*settings("ExecStartPre"), *settings("ExecStart"), *settings("ExecReload")]
    ours = [line.split()[1:] for line in commands if "/bin/paceline " in line]
    assert [words[0] for words in ours] == ["check", "serve", "check"]
    for name, option, _ in ours:
        known = [known for one in cli.commands[name].params for known in one.opts]
        assert option in known


def test_it_may_drain() -> None:
    """Streams end before systemd's patience does, and there are files for all connections."""
    server = ServerConfig()
    patience = float(settings("TimeoutStopSec")[0].removesuffix("s"))
    assert patience > server.grace_seconds + server.drain_seconds
    assert int(settings("LimitNOFILE")[0]) >= 2 * server.max_connections
