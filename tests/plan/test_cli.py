"""`paceline plan`: what it prints, writes and refuses."""

from __future__ import annotations

import json
import subprocess
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from paceline.cli import cli
from paceline.proxy.process.load import load_config
from tests.plan.models import DATA


def run(*args: str) -> Result:
    """What the command does with these arguments."""
    return CliRunner().invoke(cli, ["plan", *args])


def test_three_models(tmp_path: Path) -> None:
    """Tables, commands, and files that the proxy and a shell take as they are."""
    result = run("-c", str(DATA / "three.toml"), "--out", str(tmp_path / "deploy"))
    assert result.exit_code == 0, result.output
    assert "relative only" in result.stdout
    assert "--mem-fraction-static 0.076" in result.stdout
    config = load_config(tmp_path / "deploy" / "paceline.toml")
    assert [(b.kind, b.models, b.url) for b in config.backends] == [
        ("sglang", ["TinyLlama-1.1B"], "http://127.0.0.1:8001"),
        ("vllm", ["Qwen2.5-3B"], "http://127.0.0.1:8002"),
        ("vllm", ["Yi-6B"], "http://127.0.0.1:8003"),
    ]
    script = tmp_path / "deploy" / "engines.sh"
    assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0
    assert script.read_text().count("vllm serve") == 2


def test_json() -> None:
    """One object: sizes in bytes, every engine's command, the configuration."""
    result = run(str(DATA / "Llama-3.1-8B"), "--gpu", "h100", "--output-tokens", "20", "--json")
    document = json.loads(result.stdout)
    (engine,) = document["engines"]
    assert engine["kv_bytes_per_token"] == 131_072
    assert engine["bytes"]["weights"] == 16_060_522_496
    assert engine["bytes"]["kv"] == engine["kv_tokens"] * 131_072
    assert sum(engine["bytes"].values()) == 2 * engine["bytes"]["total"]
    assert engine["command"][:2] == ["vllm", "serve"]
    assert engine["forecast"]["capacity"] > engine["forecast"]["rate"]
    assert tomllib.loads(document["config"])["backends"][0]["kv_tokens"] == engine["kv_tokens"]


def test_sglang_in_8_bits() -> None:
    """The flags of one model reach its engine's command."""
    result = run(
        str(DATA / "Yi-6B" / "config.json"), "--gpu-memory", "24", "--engine", "sglang",
        "--kv-dtype", "fp8", "--max-running", "12", "--port", "30000", "--json",
    )  # fmt: skip
    document = json.loads(result.stdout)
    command = " ".join(document["engines"][0]["command"])
    assert f"--model-path {DATA / 'Yi-6B'} --served-model-name" in command
    assert "--kv-cache-dtype fp8_e4m3" in command
    assert "--max-running-requests 12 " in command
    assert "--port 30000" in command
    assert document["engines"][0]["forecast"] is None
    assert "not known" in document["notes"][-1]


def test_too_much_load() -> None:
    """A load above what the card can do is planned, and said to be too much."""
    result = run(
        str(DATA / "Yi-6B"), "--gpu", "l40s", "--requests-per-day", "1e7", "--output-tokens", "30"
    )
    assert "TOO MUCH" in result.stdout


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ((), "either MODEL or -c FILE"),
        (("-c", "x.toml", "--gpu", "h100"), "takes no model and no settings"),
        (("-c", "none.toml"), "none.toml: No such file"),
        ((str(DATA / "Yi-6B"),), "which GPU?"),
        ((str(DATA / "Yi-6B"), "--gpu", "h10"), "no card `h10`; did you mean `h100`?"),
        ((str(DATA / "Yi-6B"), "--gpu-memory", "8"), "short by"),
    ],
)
def test_refusals(args: tuple[str, ...], reason: str) -> None:
    """One line that says what is wrong."""
    result = run(*args)
    assert result.exit_code != 0
    assert reason in " ".join(result.stderr.split())


def test_a_model_is_named_after_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where its file is given, or the folder is the one that one is in."""
    monkeypatch.chdir(DATA / "Yi-6B")
    for path in (".", "config.json", "../Yi-6B/", str(DATA / "Yi-6B" / "config.json")):
        result = run(path, "--gpu-memory", "24")
        assert 'models = ["Yi-6B"]' in result.stdout


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    """The plan is printed; the folder at fault is named."""
    (tmp_path / "file").write_text("")
    result = run(
        str(DATA / "Yi-6B"), "--gpu-memory", "24", "--out", str(tmp_path / "file" / "deploy")
    )
    assert result.exit_code == 1
    assert "deploy: Not a directory" in result.stderr


def test_a_file_for_up(tmp_path: Path) -> None:
    """`--up` writes what `paceline up` starts: the planned flags, one engine after the other."""
    result = run("-c", str(DATA / "three.toml"), "--up", str(tmp_path / "up.toml"))
    assert result.exit_code == 0, result.output
    started = CliRunner().invoke(cli, ["up", "-c", str(tmp_path / "up.toml"), "--dry-run"])
    assert started.exit_code == 0, started.output
    for line, flag in zip(
        started.stdout.splitlines(),
        ("--context-length 2048", "--max-model-len 8192", "--max-model-len 4096"),
        strict=True,
    ):
        assert line.startswith("CUDA_VISIBLE_DEVICES=0 ")
        assert flag in line
