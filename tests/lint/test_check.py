"""What is promised is what the trie gives once the log is rewritten."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.engines.model.engine import EngineConfig
from paceline.lint.check import check
from paceline.lint.log import Entry, read_log, write_log
from paceline.lint.rules.registry import RULES
from paceline.lint.savings import sharing
from paceline.sim.request_log import request_log
from paceline.sim.rows import Rows
from paceline.sim.run import NO_PROXY, RunConfig, simulate
from tests.lint.logs import HANDBOOK, chat, codes, lint, log
from tests.lint.test_rules import TOOLS

BREAKS = ("time", "id", "number", "tools", "profile", "gap", "salt", "name")


def broken(breaks: set[str], count: int, seed: int) -> list[dict[str, Any]]:
    """Requests of one template with these things wrong."""
    rng = Random(seed)
    bodies = []
    for i in range(count):
        parts = [
            "You are a helper" + (f", it is 10:{i:02d}" if "time" in breaks else "") + ".",
            f"Customer: {rng.choice(['Ann', 'Bob', 'Cem'])}." if "profile" in breaks else "",
            f"Session {rng.getrandbits(80):024x}." if "id" in breaks else "",
            HANDBOOK,
            f"You have {rng.randrange(100)} messages." if "number" in breaks else "",
        ]
        gap = rng.choice(["\n\n", "\n\n\n"]) if "gap" in breaks else "\n\n"
        fields: dict[str, Any] = {"tools": rng.sample(TOOLS, 3) if "tools" in breaks else TOOLS}
        if "salt" in breaks:
            fields["cache_salt"] = str(rng.random())
        if "name" in breaks:
            fields["model"] = rng.choice(["m", "org/M"])
        bodies.append(chat(gap.join(filter(None, parts)), i, **fields))
    return bodies


@settings(max_examples=30)
@given(
    breaks=st.sets(st.sampled_from(BREAKS)),
    count=st.integers(1, 12),
    seed=st.integers(0, 1000),
)
def test_savings_are_the_tries(
    tmp_path_factory: Any, breaks: set[str], count: int, seed: int
) -> None:
    """The rewritten log, written and read again, spares exactly what was promised."""
    report = lint(broken(breaks, count, seed))
    path: Path = tmp_path_factory.mktemp("log") / "log.jsonl"
    write_log(path, report.mended)
    again, skipped = read_log(path)
    assert skipped == 0
    before, after = sharing(report.log), sharing(again)
    spared = (before.prompt_tokens - before.shared_tokens) - (
        after.prompt_tokens - after.shared_tokens
    )
    assert report.saved == spared
    assert (report.saved > 0) == bool(report.findings)
    assert all(f.tokens > 0 for f in report.findings)


@settings(max_examples=30)
@given(breaks=st.sets(st.sampled_from(BREAKS)), seed=st.integers(0, 1000))
def test_mended_is_mended(breaks: set[str], seed: int) -> None:
    """What was reported is not reported again once it is rewritten."""
    report = lint(broken(breaks, 8, seed))
    found = {finding.rule.code for finding in report.findings}
    again = check(report.mended, [rule for rule in RULES if rule.code in found])
    assert not again.findings


def test_each_break_has_its_cost() -> None:
    """With two things wrong, either alone would still cost most of it."""
    report = lint(broken({"time", "salt"}, 10, 1))
    assert codes(report) == ["PL001", "PL010"]
    for finding in report.findings:
        assert finding.tokens > 0.5 * report.saved
    assert lint(broken({"time"}, 10, 1)).saved < report.saved + 300


def test_an_engine_agrees(tmp_path: Path) -> None:
    """vLLM's model, with a pool for everything, hits what the trie says is shared."""
    for entries in (lint(broken({"time", "tools"}, 10, 1))).log, lint(broken(set(), 10, 1)).log:
        assert engine_hits(entries, tmp_path / "log") == sharing(entries).shared_tokens


def engine_hits(entries: list[Entry], path: Path) -> int:
    """Prompt tokens that a simulated engine finds in its cache, one request after the other."""
    lines = b"".join(
        msgspec.json.encode({"timestamp": i, "body": entry.body, "output_tokens": 1}) + b"\n"
        for i, entry in enumerate(entries)
    )
    path.write_bytes(lines)
    workload = request_log(Rows(path))
    config = RunConfig(policy=NO_PROXY, engine=EngineConfig(kind="vllm"))
    return sum(row.cached for row in simulate(config, workload).rows)


def test_nothing_to_share() -> None:
    """Prompts that have nothing in common are not at fault, nor is an empty log."""
    assert not codes(lint(chat(f"{i} {Random(i).randbytes(400).hex()}", i) for i in range(5)))
    assert lint([]).saved == 0
    assert sharing(log([])).prompt_tokens == 0
