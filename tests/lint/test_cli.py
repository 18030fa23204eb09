"""`paceline lint`: what it prints, its exit status, and what it refuses."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from paceline.cli import cli
from tests.lint.logs import HANDBOOK, chat, write


def run(*args: object) -> Result:
    """What the command does with these arguments."""
    return CliRunner().invoke(cli, ["lint", *map(str, args)])


@pytest.fixture
def late(tmp_path: Path) -> Path:
    """A log whose system prompts tell the time, for two models names of one model."""
    return write(
        tmp_path / "log.jsonl",
        [
            chat(f"It is 10:{i:02d}. {HANDBOOK}", i, model="m" if i % 3 else "org/m")
            for i in range(10)
        ],
    )


def test_findings(late: Path) -> None:
    """A line a finding, the template rewritten, the sum; exit status 1."""
    result = run(late)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{late}:1: PL001 a time that changes in a template's text: ")
    assert lines[1].startswith(f"{late}:1: PL011 one model under several names: model has `org/m`")
    assert "-model: org/m" in lines
    assert "+<time>: 10:00" in lines
    assert lines[-1].startswith("10 requests, ")


def test_clean(tmp_path: Path) -> None:
    """Exit status 0 and one line."""
    path = write(tmp_path / "log.jsonl", [chat(HANDBOOK, i) for i in range(4)])
    result = run(path)
    assert (result.exit_code, result.stdout.count("\n")) == (0, 1)
    assert "nothing breaks prefixes" in result.stdout


def test_json(late: Path) -> None:
    """One object with codes, figures, and a request before and after."""
    document = json.loads(run(late, "--json").stdout)
    assert [f["code"] for f in document["findings"]] == ["PL001", "PL011"]
    assert [f["requests"] for f in document["findings"]] == [10, 4]
    assert document["saved_tokens"] > 0
    assert document["template"]["before"]["model"] == "org/m"
    assert document["template"]["after"]["model"] == "m"


def test_select_and_ignore(late: Path) -> None:
    """Codes may be shortened; what is left out is neither reported nor mended."""
    assert "PL011" not in run(late, "--select", "PL00").stdout
    assert "PL001" not in run(late, "--ignore", "PL001,PL002").stdout
    assert run(late, "--select", "PL005").exit_code == 0
    result = run(late, "--select", "PL9")
    assert result.exit_code == 2
    assert "no rule `PL9`; known: PL001, PL002" in result.stderr


def test_the_rewritten_log_is_clean(late: Path, tmp_path: Path) -> None:
    """`--write` makes a log that lints clean; gzipped logs are read, too."""
    assert run(late, "--write", tmp_path / "new.jsonl").exit_code == 1
    packed = tmp_path / "new.jsonl.gz"
    packed.write_bytes(gzip.compress((tmp_path / "new.jsonl").read_bytes()))
    assert run(packed).exit_code == 0


def test_the_rewritten_log_can_be_simulated(tmp_path: Path) -> None:
    """What else a row says is kept, so that the simulator shows what rewriting gains."""
    path = tmp_path / "log.jsonl"
    rows = [
        {"timestamp": i / 100, "body": chat(f"It is 10:{i:02d}. {HANDBOOK}", i), "output_tokens": 4}
        for i in range(10)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run(path, "--write", tmp_path / "new.jsonl")
    before, after = (simulated(path), simulated(tmp_path / "new.jsonl"))
    assert before["hit_rate"] < 0.1
    assert after["hit_rate"] > 0.7
    assert after["ttft_s"]["mean"] < before["ttft_s"]["mean"]


def simulated(path: Path) -> Any:
    """The run's figures."""
    args = ["sim", "--trace", str(path), "--policy", "lpm", "--json", "--jobs", "1"]
    return json.loads(CliRunner().invoke(cli, args).stdout)["runs"][0]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{", "log.jsonl:1: "),
        ('{"body": {"messages": []}}', "messages: must not be empty"),
        ('{"timestamp": 1}', "has no body"),
    ],
)
def test_a_bad_row(tmp_path: Path, row: str, reason: str) -> None:
    """It stops with 2, or is left out and counted; lines are counted as they stand."""
    path = tmp_path / "log.jsonl"
    path.write_text(f"{row}\n")
    result = run(path)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert "1 requests were left out" in run(path, "--skip-bad").stdout


def test_files_that_are_not_there(tmp_path: Path, late: Path) -> None:
    """The file at fault is named; exit status 2."""
    assert "No such file" in run(tmp_path / "none").stderr
    result = run(late, "--write", tmp_path / "none" / "x")
    assert (result.exit_code, "none/x: No such" in result.stderr) == (2, True)
