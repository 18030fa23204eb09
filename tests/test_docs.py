"""The documents hang together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from paceline.policies.registry import load
from paceline.proxy.telemetry.log import WHY
from paceline.scheduler import Request, Scheduler, SchedulerConfig
from paceline.scheduler.events import Arrived

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that exists."""
    links = re.findall(r"(?<!!)\[[^\]]+\]\(([^)#]+)", page.read_text())
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not broken


def test_the_plugin_shown_is_the_plugin_tested() -> None:
    """docs/plugins.md shows the module that the tests install, and its entry point."""
    shown = (ROOT / "docs" / "plugins.md").read_text()
    plugin = ROOT / "tests/plugins/paceline-p2c"
    assert (plugin / "paceline_p2c.py").read_text() in shown
    (entry_point,) = re.findall(r"```toml\n(.*?)```", shown, re.S)
    assert entry_point in (plugin / "pyproject.toml").read_text()


def test_queries_ask_for_metrics_that_exist() -> None:
    """Those shown in docs/metrics.md name what its table lists."""
    page = (ROOT / "docs" / "metrics.md").read_text()
    (queries,) = re.findall(r"```promql\n(.*?)```", page, re.S)
    asked = {re.sub(r"_sum$", "", name) for name in re.findall(r"paceline_\w+", queries)}
    assert len(asked) > 4
    assert all(f"\n| `{name}` |" in page for name in asked)


def test_every_metric_is_documented() -> None:
    """docs/metrics.md lists each metric of the page once."""
    from paceline.proxy.telemetry.gauges import PER_BACKEND, PER_QUEUE, WHOLE
    from paceline.proxy.telemetry.metrics import Metrics
    from tests.proxy.telemetry.test_metrics import EMPTY

    page = Metrics(lambda: EMPTY).render().decode()
    names = set(re.findall(r"^# TYPE (paceline_\w+) (?!gauge)", page, re.M)) - {
        f"{name}_created" for name in re.findall(r"^# TYPE (\w+) histogram", page, re.M)
    }
    names |= {f"paceline_{name}" for name in WHOLE} | {f"paceline_queue_{n}" for n in PER_QUEUE}
    names |= {f"paceline_backend_{name}" for name in PER_BACKEND}
    documented = re.findall(
        r"^\| `(paceline_\w+)`", (ROOT / "docs" / "metrics.md").read_text(), re.M
    )
    assert sorted(documented) == sorted(names)


def test_every_reason_is_documented() -> None:
    """docs/metrics.md words each reason as the log does."""
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|$", (ROOT / "docs/metrics.md").read_text(), re.M)
    assert dict(rows) == WHY


def test_the_readmes_policy_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy shown in the README can be saved, loaded and asked."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    (tmp_path / "least_work.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    policy = load("least_work:LeastWork", {"tokens_per_second": 10})
    assert policy.ranks == "on_match"
    scheduler = Scheduler(SchedulerConfig(), policy, 1)
    scheduler.handle(Arrived(Request(id="a", arrived_at=1.0, prompt_tokens=5)), 1.0)
    assert scheduler.policy is policy


def test_the_design_names_every_package_and_only_modules_that_exist() -> None:
    """docs/design.md has a row for each package, and what it calls a module is one."""
    page = (ROOT / "docs/design.md").read_text()
    rows = {name for row in re.findall(r"^\| (`.*`) \|", page, re.M) for name in row.split(", ")}
    shells = (ROOT / "paceline", ROOT / "paceline/proxy")
    packages = {f"`{init.parent.name}`" for shell in shells for init in shell.glob("*/__init__.py")}
    assert rows == packages | {"`cli`"}
    modules = re.findall(r"`([a-z_]+/[a-z_]+)(?:\.py)?`", page)
    assert len(modules) > 8
    for module in modules:
        assert any((shell / f"{module}.py").exists() for shell in shells), module
