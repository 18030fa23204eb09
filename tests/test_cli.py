"""The command line reads well, and each error is one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from paceline import __version__, cli
from paceline.policies import registry
from paceline.proxy.access.keys import Keys
from paceline.proxy.process import emulate, life
from paceline.proxy.process.life import Plan
from paceline.proxy.process.listen import CannotListen
from paceline.proxy.telemetry.recorder import CannotRecord


def invoke(*args: str) -> str:
    result = CliRunner().invoke(cli.cli, args)
    assert result.exit_code == 0, result.output
    return result.output


def fail(*args: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The error line of a command that must fail."""
    monkeypatch.setattr(sys, "argv", ["paceline", *args])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code not in (0, None)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err[:-1]


def test_help_names_the_commands() -> None:
    """`paceline --help` says what it is and lists the four commands."""
    text = invoke("--help")
    assert "in front of SGLang and vLLM" in text
    for command in ("serve", "emulate", "policies", "check"):
        assert f"\n  {command} " in text


@pytest.mark.parametrize("command", ["serve", "emulate", "policies", "check"])
def test_each_command_has_help(command: str) -> None:
    """No option stands without a word of explanation."""
    text = invoke(command, "--help")
    options = [line for line in text.splitlines() if line.startswith("  -")]
    assert all(len(line.split("  ")) > 2 for line in options)


def test_policies_lists_settings_with_docs() -> None:
    """Each policy is shown with package, docs and settings."""
    text = invoke("policies")
    assert f"lpm  (paceline {__version__})" in text
    assert "  max_wait_factor: float = 3.0\n      A request goes first" in text


def test_policies_shows_what_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that cannot be loaded is listed with the reason."""
    broken = registry.Installed("bad", "bad 1.0", "", [], "policy `bad`: cannot import nowhere")
    monkeypatch.setattr(registry, "installed", lambda: [broken])
    assert invoke("policies") == (
        "bad  (bad 1.0)\n  broken: policy `bad`: cannot import nowhere\n\n"
    )


def test_check_accepts(tmp_path: Path) -> None:
    """A sound file is confirmed in one line."""
    path = tmp_path / "paceline.toml"
    path.write_text('[policy]\nname = "fcfs"\n[[backends]]\nurl = "http://a:1"\n')
    assert invoke("check", "-c", str(path)) == f"{path}: ok, 1 backend(s), policy fcfs\n"


def test_check_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong file fails with the line that says why."""
    path = tmp_path / "paceline.toml"
    path.write_text("[server]\nprot = 1\n")
    line = fail("check", "-c", str(path), monkeypatch=monkeypatch, capsys=capsys)
    assert line == f"paceline: {path}: $.server.prot: unknown key; did you mean `port`?"


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["frob"], "No such command 'frob'."),
        (["serve", "--port", "x"], "Invalid value for '--port': 'x' is not a valid integer range."),
        (
            ["serve", "--policy", "fcsf"],
            "command line: $.policy.name: no policy `fcsf`; did you mean `fcfs`?",
        ),
        (["calibrate", "--out", "x"], "either --backend URL or --from FILE is needed"),
        (
            ["calibrate", "--out", "/nowhere/at/all", "--backend", "http://127.0.0.1:9"],
            "/nowhere/at/all: No such file or directory",
        ),
        (
            ["calibrate", "--out", "x", "--backend", "127.0.0.1:9"],
            "`127.0.0.1:9` is no URL such as http://10.0.0.7:8000",
        ),
        (["emulate", "--port", "0"], "Missing option '--kind'. Choose from: vllm, sglang"),
    ],
)
def test_errors_are_one_line(
    args: list[str],
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Wrong usage is told in one line, without a traceback or the usage text."""
    error = fail(*args, monkeypatch=monkeypatch, capsys=capsys)
    assert " ".join(error.split()) == f"paceline: {line}"


def test_serve_runs_the_flags_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is run is the file's configuration with the options laid over it."""
    path = tmp_path / "paceline.toml"
    path.write_text('[server]\nport = 9000\nhost = "127.0.0.2"\n')
    ran: list[Plan] = []
    monkeypatch.setattr(life, "run", ran.append)
    args = ("--port", "9001", "--backend", "http://a:1", "--record", "events.jsonl")
    invoke("serve", "-c", str(path), *args)
    config = ran[0].config
    assert config.log.record == "events.jsonl"
    assert ran[0].reread() == config
    assert (config.server.host, config.server.port) == ("127.0.0.2", 9001)
    assert [backend.url for backend in config.backends] == ["http://a:1"]


def test_key_shows_the_key_apart_from_its_line() -> None:
    """So that the line can be appended to a file, and the key is nowhere but before one's eyes."""
    result = CliRunner().invoke(cli.cli, ["key", "acme"])
    key, line = result.stderr.strip(), result.stdout.strip()
    assert Keys([line]).holder(key.encode()) == "acme"
    assert key not in line


def test_key_needs_a_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that can stand in a line."""
    line = fail("key", "a b", monkeypatch=monkeypatch, capsys=capsys)
    assert line == "paceline: a name has letters, digits and . _ @ : - only"


def test_check_reads_what_the_file_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing key file is found before it matters."""
    path = tmp_path / "paceline.toml"
    path.write_text('[auth]\nkeys_file = "/none"\n')
    line = fail("check", "-c", str(path), monkeypatch=monkeypatch, capsys=capsys)
    assert line == "paceline: $.auth: /none: No such file or directory"


def test_serve_says_whom_it_replaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """By process id."""
    ran: list[Plan] = []
    monkeypatch.setattr(life, "run", ran.append)
    invoke("serve", "--replace", "77")
    assert ran[0].replaces == 77


def test_a_taken_port_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server that cannot listen ends with its reason, not with a traceback."""

    def run(plan: Plan) -> None:
        raise CannotListen("127.0.0.1", 8000, OSError(98, "address already in use"))

    monkeypatch.setattr(life, "run", run)
    line = fail("serve", monkeypatch=monkeypatch, capsys=capsys)
    assert line == "paceline: cannot listen on 127.0.0.1:8000: Address already in use"


def test_a_record_that_cannot_be_written_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A proxy that was to record and cannot does not serve."""

    def run(plan: Plan) -> None:
        raise CannotRecord(f"cannot record to {plan.config.log.record}: Permission denied")

    monkeypatch.setattr(life, "run", run)
    line = fail("serve", "--record", "/x", monkeypatch=monkeypatch, capsys=capsys)
    assert line == "paceline: cannot record to /x: Permission denied"


def test_emulate_hands_over_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind, address, preset, pool and speed reach the emulator."""
    ran: list[tuple[object, str, int]] = []
    monkeypatch.setattr(emulate, "run", lambda *args: ran.append(args))
    options = ["--kind", "sglang", "--port", "0", "--kv-tokens", "4096", "--speed", "2"]
    invoke("emulate", *options)
    ((config, host, port),) = ran
    assert (host, port) == ("127.0.0.1", 0)
    assert "kind='sglang'" in repr(config)
    assert "kv_tokens=4096" in repr(config)
    assert "speed=2.0" in repr(config)


def test_a_preset_that_does_not_exist_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt preset is answered with the one that was meant."""
    options = ["--kind", "vllm", "--port", "0", "--preset", "llama-3.1-8b-h10"]
    line = fail("emulate", *options, monkeypatch=monkeypatch, capsys=capsys)
    assert line == "paceline: no preset `llama-3.1-8b-h10`; did you mean `llama-3.1-8b-h100`?"


def test_no_command_shows_the_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`paceline` alone says what it can do."""
    monkeypatch.setattr(sys, "argv", ["paceline"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "Commands:" in capsys.readouterr().out


def test_python_dash_m() -> None:
    """`python -m paceline` is the same program, and starts without the server's libraries."""
    code = (
        "import sys, runpy; sys.argv = ['paceline', '--version']\n"
        "try: runpy.run_module('paceline', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end\n"
        "assert 'aiohttp' not in sys.modules and 'msgspec' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout == f"paceline {__version__}\n"
