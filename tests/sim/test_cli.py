"""`paceline sim` and `paceline calibrate`: what they print, write and refuse."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from xml.dom.minidom import parseString

import pyarrow.parquet
import pytest

from paceline import cli
from paceline.sim.cli import sim

SMALL = ("sim", "--groups", "4", "--members", "3", "--shared", "200", "--jobs", "1")
DATA = Path(__file__).parent / "data"


class Shell:
    """Runs commands in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def run(self, *args: str) -> str:
        """What a command that must succeed prints; it prints nothing on stderr."""
        code, out, err = self._call(args)
        assert (code, err) == (0, "")
        return out

    def fail(self, *args: str) -> str:
        """The one line of a command that must fail."""
        code, out, err = self._call(args)
        assert code != 0
        assert (out, err.count("\n")) == ("", 1)
        return err

    def _call(self, args: tuple[str, ...]) -> tuple[object, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["paceline", *args])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = self._capsys.readouterr()
        return caught.value.code or 0, out, err


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(monkeypatch, capsys)


def test_json_is_one_object(shell: Shell) -> None:
    """Every cell and seed of the grid, in order, with all promised figures."""
    text = shell.run(
        *SMALL, "--json", "--no-proxy", "--policy", "fcfs,lpm", "--backends", "1,2",
        "--kv-tokens", "2000,9000", "--seeds", "2",
    )  # fmt: skip
    document = json.loads(text)
    assert document["calibrated"] is False
    assert "relative only" in document["note"]
    keys = [(r["policy"], r["backends"], r["kv_tokens"], r["seed"]) for r in document["runs"]]
    assert keys == [
        (policy, backends, kv, seed)
        for policy in ("no-proxy", "fcfs", "lpm")
        for backends in (1, 2)
        for kv in (2000, 9000)
        for seed in (0, 1)
    ]
    for run in document["runs"]:
        assert (run["engine"], run["requests"]) == ("vllm", 12)
        assert run["makespan_s"] > 0
        assert 0 <= run["hit_rate"] < 1
        for name in ("ttft_s", "tpot_s", "e2e_s"):
            assert {"mean", "p50", "p90", "p99"} <= set(run[name])


def test_processes_change_nothing(shell: Shell) -> None:
    """Two processes print the same bytes as one."""
    args = (*SMALL[:-2], "--json", "--seeds", "3")
    assert shell.run(*args, "--jobs", "2") == shell.run(*args, "--jobs", "1")


INTERRUPTED = """
import os, signal
from paceline.scheduler import Policy

class Interrupted(Policy):
    def order(self, request, view):
        os.kill(os.getpid(), signal.SIGINT)
        return ()
"""


def test_processes_end_with_ctrl_c(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal ends each at once, with no further run; one that was killed is one line."""
    (tmp_path / "interrupted.py").write_text(INTERRUPTED)
    monkeypatch.syspath_prepend(str(tmp_path))
    args = (*SMALL[:-2], "--members", "60", "--kv-tokens", "2000", "--jobs", "2")
    error = shell.fail(*args, "--policy", "interrupted:Interrupted")
    assert "a process was killed, perhaps for its memory" in error


def test_the_table(shell: Shell) -> None:
    """A line a cell with its interval, the changes against the first policy, and the caveat."""
    text = shell.run(*SMALL, "--policy", "fcfs,lpm", "--seeds", "3", "--kv-tokens", "2000")
    assert re.search(r"^fcfs +\d+\.\d\d", text, re.M)
    assert re.search(r"^against fcfs .*\nlpm +[+-]\d", text, re.M)
    assert text.rstrip().endswith("(see `paceline calibrate`)")


def test_per_request(shell: Shell, tmp_path: Path) -> None:
    """One CSV row a request, whose figures are those of the summary."""
    path = tmp_path / "requests.csv"
    args = (*SMALL, "--json", "--policy", "lpm", "--seeds", "1", "--per-request", str(path))
    (run,) = json.loads(shell.run(*args))["runs"]
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert {"arrival", "first", "last", "prompt", "out", "cached", "backend"} <= set(rows[0])
    assert len(rows) == 12
    hit = sum(int(r["cached"]) for r in rows) / sum(int(r["prompt"]) for r in rows)
    assert hit == pytest.approx(run["hit_rate"])
    assert max(float(r["last"]) for r in rows) == pytest.approx(run["makespan_s"], abs=1e-5)


def test_runs_as_csv(shell: Shell, tmp_path: Path) -> None:
    """One row a run, nested figures with a dot."""
    path = tmp_path / "runs.csv"
    shell.run(*SMALL, "--seeds", "2", "--csv", str(path))
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [(r["policy"], r["seed"]) for r in rows] == [
        ("fcfs", "0"), ("fcfs", "1"), ("lpm", "0"), ("lpm", "1"),
    ]  # fmt: skip
    assert float(rows[0]["ttft_s.p99"]) > 0


def test_runs_as_parquet(shell: Shell, tmp_path: Path) -> None:
    """The rows of the CSV, with types."""
    path = tmp_path / "runs.parquet"
    shell.run(*SMALL, "--seeds", "2", "--csv", str(tmp_path / "runs.csv"), "--parquet", str(path))
    rows: list[dict[str, object]] = pyarrow.parquet.read_table(path).to_pylist()
    with (tmp_path / "runs.csv").open() as file:
        assert [{k: str(v) for k, v in row.items()} for row in rows] == list(csv.DictReader(file))
    assert (rows[1]["seed"], rows[1]["policy"]) == (1, "fcfs")


def test_without_pyarrow(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What to install is said before anything has run."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    error = shell.fail(*SMALL, "--members", "1000000", "--parquet", str(tmp_path / "x"))
    assert "--parquet needs pyarrow: pip install 'paceline[parquet]'" in error


def test_the_report_is_self_contained(shell: Shell, tmp_path: Path) -> None:
    """One page whose charts are well-formed, that fetches nothing and shows every policy."""
    path = tmp_path / "report.html"
    args = (*SMALL, "--members", "60", "--kv-tokens", "2000", "--seeds", "2")
    shell.run(*args, "--no-proxy", "--report", str(path))
    page = path.read_text()
    charts = re.findall(r"<svg.*?</svg>", page, re.S)
    assert len(charts) == 9
    for chart in charts:
        drawn = parseString(chart).getElementsByTagName("polyline")
        assert len(drawn) == (2 if "Wait in the proxy" in chart else 3)
    assert not re.search(r"https?:|<script|<link|@import|url\(", page)
    assert "relative only" in page


def test_the_report_says_who_waits(shell: Shell, tmp_path: Path) -> None:
    """A table of tenants and one of families, a column a policy; and what goodput counts."""
    path = tmp_path / "report.html"
    args = ["sim", "--workload", "tenants", "--tenants", "3", "--members", "2", "--groups", "4"]
    args += ["--rate", "50", "--seeds", "1", "--slo-ttft", "0.5", "--jobs", "1"]
    shell.run(*args, "--policy", "fcfs,fair", "--report", str(path))
    page = path.read_text()
    *_, tenants, families = re.findall(r"<table>.*?</table>", page, re.S)
    row = r"<tr><td>%s</td>(<td>[\d.]+ / [\d.]+ / [\d.]+</td>){2}</tr>"
    for tenant in ("t1", "t2", "t3"):
        assert re.search(row % tenant, tenants)
        assert re.search(row % f"{tenant}-0", families)
    assert "Goodput: completed requests a second with TTFT up to 0.5 s." in page
    assert "Jain" in page


def test_the_timeline(shell: Shell, tmp_path: Path) -> None:
    """Spans of queue, prefill and decode for each request; no two on one lane overlap."""
    path = tmp_path / "trace.json"
    shell.run(*SMALL, "--kv-tokens", "2000", "--backends", "2", "--perfetto", str(path))
    events = json.loads(path.read_text())["traceEvents"]
    spans = [e for e in events if e["ph"] == "X"]
    assert sum(e["name"] == "decode" and "id" in e["args"] for e in spans) == 12
    lanes: dict[tuple[int, int], float] = {}
    for span in sorted(spans, key=lambda e: (e["ts"], e["dur"])):
        lane = span["pid"], span["tid"]
        assert span["ts"] >= lanes.get(lane, 0.0) - 0.01
        lanes[lane] = span["ts"] + span["dur"]
    assert {pid for pid, tid in lanes if tid == 1} == {2, 3}
    names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert names == {1: "proxy", 2: "b0", 3: "b1"}
    counters = {(e["pid"], e["name"]) for e in events if e["ph"] == "C"}
    assert counters == {(1, "queued")} | {
        (pid, name) for pid in (2, 3) for name in ("running", "waiting", "KV tokens held")
    }


def test_explain(shell: Shell) -> None:
    """The story of one request, and the ids that exist where there is none such."""
    args = (*SMALL, "--members", "20", "--policy", "lpm", "--kv-tokens", "2000")
    text = shell.run(*args, "--explain", "000079")
    assert "It waited" in text
    assert re.search(r"Meanwhile \d+ others went", text)
    assert "of its tokens were cached there" in text
    assert "no request `nobody`; there are 000000," in shell.fail(*args, "--explain", "nobody")


def test_calibrate_and_use(shell: Shell, tmp_path: Path) -> None:
    """What was fitted is used, and the results are absolute then; only for its own engine."""
    path = tmp_path / "vllm.json"
    data = [str(DATA / f"vllm_llama8b_{name}.csv.gz") for name in ("calib", "itl")]
    args = ("--from", data[0], "--from", data[1], "--out", str(path))
    assert "40 measurements" in shell.run("calibrate", "--engine", "vllm", *args)
    assert "relative only" not in shell.run(*SMALL, "--calibration", str(path))
    error = shell.fail(*SMALL, "--calibration", str(path), "--engine", "sglang")
    assert "the calibration is for --engine vllm" in error


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("--parquet", "/nowhere/at/all"), "/nowhere/at/all: No such file"),
        (("--policy", "lmp"), "did you mean `lpm`?"),
        (("--preset", "llama"), "no preset `llama`"),
        (("--engine-policy", "lpm"), "vllm has no policy `lpm`"),
        (("--sglang", "0.5.16"), "--sglang needs --engine sglang"),
        (("--gaps", "gamma"), "--gaps and --gaps-cv need --rate"),
        (("--rate", "3", "--gaps-cv", "2"), "--gaps-cv needs --gaps gamma or weibull"),
        (("--turns", "3"), "--workload gsp has no --turns"),
        (("--groups", "many"), "--groups: Expected int, got str"),
        (("--groups", "0"), "--groups: must be positive and finite"),
        (("--zipf", "inf"), "--zipf: must be positive and finite"),
        (("--backends", "1,x"), "`1,x` is not a list of positive numbers"),
        (("--kv-tokens", "0"), "`0` is not a list of positive numbers"),
        (
            ("--members", "1000000", "--report", "/nowhere/at/all.html"),
            "/nowhere/at/all.html: No such file",  # said before all those have been simulated
        ),
        (("--per-request", "/"), "'--per-request': File '/' is a directory"),
        (("--csv", "/proc/no"), "/proc/no: No such file"),
    ],
)
def test_mistakes(shell: Shell, args: tuple[str, ...], why: str) -> None:
    """Each is one line that says what to do."""
    assert why in shell.fail(*SMALL, *args)


def test_traces(shell: Shell, tmp_path: Path) -> None:
    """A trace is played once; bad rows stop it, unless they are skipped and counted."""
    path = tmp_path / "trace.jsonl"
    good = '{"timestamp": 0, "input_length": 20, "output_length": 5, "hash_ids": [1, 2]}'
    path.write_text(f"{good}\n{good}\nnonsense\n")
    args = ("sim", "--trace", str(path), "--trace-block-size", "16", "--policy", "lpm")
    assert f"{path}:3: " in shell.fail(*args)
    document = json.loads(shell.run(*args, "--skip-bad", "--json"))
    assert document["skipped_rows"] == 1
    (run,) = document["runs"]
    assert (run["requests"], run["seed"], run["hit_rate"]) == (2, 0, 16 / 40)
    assert "1 rows of the trace were left out" in shell.run(*args, "--skip-bad")
    assert "--trace takes no --groups" in shell.fail(*args, "--groups", "3")
    assert "--trace takes no --gaps-cv" in shell.fail(*args, "--gaps-cv", "3")


def test_tenants_come_in_bursts(shell: Shell) -> None:
    """Without --gaps they do as the generator is told by default, and not as Poisson would."""
    args = ("sim", "--workload", "tenants", "--seeds", "1", "--json")
    bursts = shell.run(*args)
    assert bursts == shell.run(*args, "--gaps", "gamma", "--gaps-cv", "2.5")
    assert bursts != shell.run(*args, "--gaps", "poisson")


def test_help_lists_every_option(shell: Shell) -> None:
    """Under a heading, and the settings of each generator with its own defaults."""
    text = shell.run("sim", "--help")
    listed = set(re.findall(r"^  (?:-\w, )?(--[\w-]+)", text, re.M))
    options = {option for parameter in sim.params for option in parameter.opts}
    assert listed == options | {"--help"}
    assert re.search(r"^--workload forks:\n.*^  --output .*\s400\]", text, re.M | re.S)


def test_the_table_says_once_what_is_the_same(shell: Shell) -> None:
    """What does not vary stands above the table; columns of it are there where it does."""
    args = (*SMALL, "--policy", "lpm", "--seeds", "1")
    head, columns, *_ = shell.run(*args).splitlines()
    assert head == "gsp, 12 requests; vllm, llama-3.1-8b-h100; 1 backend, 430000 KV tokens; 1 seed"
    assert columns.split()[:3] == ["policy", "makespan", "s"]
    assert "goodput" not in columns
    head, columns, *_ = shell.run(*args, "--backends", "1,2", "--slo-ttft", "1").splitlines()
    assert head == "gsp, 12 requests; vllm, llama-3.1-8b-h100; 430000 KV tokens; 1 seed"
    assert columns.split()[:2] == ["policy", "backends"]
    assert columns.split()[-1] == "goodput/s"


def test_refusals_say_why(shell: Shell) -> None:
    """A request that no engine could hold is counted, with the reason."""
    text = shell.run(*SMALL, "--policy", "lpm", "--seeds", "1", "--kv-tokens", "300")
    assert "12 requests were refused: longer than the engine's KV pool" in text


def test_help_does_not_import_the_simulator() -> None:
    """`paceline --help` lists both commands without loading them."""
    code = (
        "import sys, runpy; sys.argv = ['paceline', '--help']\n"
        "try: runpy.run_module('paceline', run_name='__main__')\n"
        "except SystemExit: assert not any(m.startswith('paceline.sim') for m in sys.modules)"
    )
    text = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert "calibrate  Fit step times" in text
    assert "sim        Run the scheduler offline" in text


def test_the_documented_policy_runs(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy of docs/simulator.md, saved under its name, can be compared."""
    page = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()
    code = re.findall(r"```python\n(.*?)```", page, re.S)[0]
    (tmp_path / "shortest.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    text = shell.run(*SMALL, "--policy", "fcfs,shortest:Shortest")
    assert re.search(r"^shortest:Shortest +\d", text, re.M)
