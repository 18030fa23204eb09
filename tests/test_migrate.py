"""`paceline migrate`: the file for another router's command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from paceline.cli import cli
from paceline.migrate import PLACEMENT, SETTINGS
from paceline.proxy.process.load import load_config

ROUTER = ("python", "-m", "sglang_router.launch_router")
FLAGS = Path(__file__).parent / "docs" / "flags"


def test_what_it_prints_is_a_configuration(tmp_path: Path) -> None:
    """With what the flags said, in our units."""
    flags = "--worker-urls http://a:1 http://b:2 --policy=cache_aware --host 0.0.0.0 --port 30000"
    more = "--max-payload-size 1048576 --queue-size 7 --log-level warn --request-timeout-secs 60"
    result = CliRunner().invoke(cli, ["migrate", *ROUTER, *flags.split(), *more.split()])
    assert (result.exit_code, result.stderr) == (0, "")
    path = tmp_path / "paceline.toml"
    path.write_text(result.stdout)
    config = load_config(path)
    assert [one.url for one in config.backends] == ["http://a:1", "http://b:2"]
    assert (config.server.host, config.server.port) == ("0.0.0.0", 30000)
    assert (config.server.max_body_mb, config.scheduler.max_waiting) == (1, 7)
    assert (config.log.level, config.upstream.total_seconds) == ("warning", 60)


@pytest.mark.parametrize("flag", SETTINGS)
def test_every_setting_exists(flag: str, tmp_path: Path) -> None:
    """And takes what the flag takes."""
    value = {"--log-level": "warn", "--host": "127.0.0.1"}.get(flag, "9")
    result = CliRunner().invoke(cli, ["migrate", "vllm-router", flag, value])
    path = tmp_path / "paceline.toml"
    path.write_text(result.stdout)
    load_config(path)


def test_a_command_without_flags_is_an_error() -> None:
    """An empty file would only look like a translation."""
    result = CliRunner().invoke(cli, ["migrate", "sglang-router"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no flags of a router" in result.stderr


def test_flags_without_a_counterpart_are_named() -> None:
    """On stderr, with the rest translated."""
    arguments = ["vllm-router", "--port", "1", "--pd-disaggregation", "--prefill", "http://a", "9"]
    result = CliRunner().invoke(cli, ["migrate", *arguments])
    assert result.stdout == "[server]\nport = 1\n"
    assert result.stderr == "not translated: --pd-disaggregation --prefill\n"


@pytest.mark.parametrize("values", [["x"], [], ["1", "2"]])
def test_what_cannot_be_read_is_named(values: list[str]) -> None:
    """In one line."""
    result = CliRunner().invoke(cli, ["migrate", "vllm-router", "--port", *values])
    assert result.exit_code == 1
    assert f"--port: cannot read `{' '.join(values)}`" in result.output


def test_the_routers_have_these_flags() -> None:
    """None is made up."""
    known = {flag for path in FLAGS.iterdir() for flag in path.read_text().split()}
    assert {*SETTINGS, *PLACEMENT} <= known
