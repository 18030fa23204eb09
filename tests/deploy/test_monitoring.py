"""The alerts and the dashboard: valid, and built on metrics that the proxy has."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from tests.deploy.files import DEPLOY, ROOT, load, run
from tests.served import served

RULES = [rule for group in load("prometheus/alerts.yaml")["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((DEPLOY / "grafana/paceline.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
OF_THE_SCRAPE = {"job", "instance"}


def shown() -> list[str]:
    """The dashboard's expressions, with values for its variables."""
    expressions = [target["expr"] for panel in PANELS for target in panel["targets"]]
    expressions += [one["expr"] for one in DASHBOARD["annotations"]["list"]]
    return [
        re.sub(r"\$(job|model|backend)", ".*", one).replace("$__rate_interval", "1m")
        for one in expressions
    ]


def expressions() -> list[str]:
    """All expressions."""
    return [rule["expr"] for rule in RULES] + shown()


def used() -> Iterator[tuple[str, set[str]]]:
    """Every use of a metric, with the labels that it is selected by."""
    queries = [one["query"]["query"] for one in DASHBOARD["templating"]["list"][1:]]
    for one in expressions() + queries:
        for name, _, labels in re.findall(r"(paceline_\w+)(\{([^}]*)\})?", one):
            yield name, set(re.findall(r"(\w+)\s*[=!]", labels))


async def scrape(folder: Path) -> str:
    """`/metrics` of a proxy in front of emulated engines, which records and has answered."""
    with served("--record", str(folder / "r")) as base:
        async with aiohttp.ClientSession(base) as session:
            model = (await (await session.get("/v1/models")).json())["data"][0]["id"]
            body = {"model": model, "prompt": "hi", "max_tokens": 3, "stream": True}
            await (await session.post("/v1/completions", json=body)).read()
            return await (await session.get("/metrics")).text()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One scrape for all."""
    return asyncio.run(scrape(tmp_path_factory.mktemp("record")))


def documented() -> dict[str, set[str]]:
    """The labels of each metric, as docs/metrics.md has them."""
    page = (ROOT / "docs/metrics.md").read_text()
    rows = re.findall(r"^\| `(paceline_\w+)` \| ([^|]*) \|", page, re.M)
    return {name: set(re.findall(r"\w+", labels)) for name, labels in rows}


def test_every_metric_that_is_named_exists(page: str) -> None:
    """Alerts and dashboard name metrics of a real scrape, and labels that these have."""
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", page, re.M))
    labels = documented()
    assert len(dict(used())) > 20
    for name, selected in used():
        family = re.sub(r"_(bucket|sum|count)$", "", name)
        histogram = types.get(family) == "histogram"
        assert name in types or histogram, name
        assert selected - OF_THE_SCRAPE <= labels.get(family, set()), (name, selected)


def test_every_metric_has_its_labels(page: str) -> None:
    """The labels that docs/metrics.md lists are those of the scrape."""
    for name, labels in documented().items():
        samples = re.findall(rf"^{name}(?:_bucket)?(?:\{{(.*)\}})? ", page, re.M)
        for sample in samples:
            assert set(re.findall(r'(\w+)="', sample)) - {"le"} == labels, name


def test_promtool_takes_the_alerts() -> None:
    """`promtool check rules` finds no fault."""
    assert f"{len(RULES)} rules found" in run(
        "promtool", "check", "rules", DEPLOY / "prometheus/alerts.yaml"
    )


def test_the_alerts_fire_when_they_should() -> None:
    """`promtool test rules` runs their unit tests."""
    assert "SUCCESS" in run("promtool", "test", "rules", DEPLOY / "prometheus/alerts_test.yaml")


def test_every_alert_has_a_unit_test() -> None:
    """Each is seen to fire at least once."""
    tests = load("prometheus/alerts_test.yaml")["tests"]
    fired = {
        one["alertname"] for test in tests for one in test["alert_rule_test"] if one["exp_alerts"]
    }
    assert fired == {rule["alert"] for rule in RULES}


def test_every_alert_says_what_and_why() -> None:
    """Whoever is woken reads a summary, a description and a severity."""
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {"summary", "description"}


def test_every_alert_is_documented() -> None:
    """docs/deploy.md says when it fires."""
    page = (ROOT / "docs/deploy.md").read_text()
    assert set(re.findall(r"`(Paceline\w+)`", page)) == {rule["alert"] for rule in RULES}


def test_promtool_takes_prometheus_configuration(tmp_path: Path) -> None:
    """The composition's prometheus.yaml, with the alerts where it mounts them."""
    for file in ("compose/prometheus.yaml", "prometheus/alerts.yaml"):
        (tmp_path / Path(file).name).write_text((DEPLOY / file).read_text())
    run("promtool", "check", "config", tmp_path / "prometheus.yaml")


def test_promtool_takes_the_dashboards_expressions(tmp_path: Path) -> None:
    """Each is PromQL."""
    rules = [{"record": f"e{i}", "expr": one} for i, one in enumerate(shown())]
    groups = {"groups": [{"name": "dashboard", "rules": rules}]}
    (tmp_path / "rules.yaml").write_bytes(msgspec.json.encode(groups))
    run("promtool", "check", "rules", tmp_path / "rules.yaml")


def test_grafana_knows_every_field_of_the_dashboard() -> None:
    """Read by Grafana's own types and written again, it has lost nothing."""
    pytest.importorskip("grafana_foundation_sdk")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(DASHBOARD)))
    assert list(lost(DASHBOARD, again)) == []


def lost(ours: Any, again: Any, path: str = "$") -> Iterator[str]:
    """The paths of what is not, or not the same, in `again`, which may have more."""
    if isinstance(ours, dict) and isinstance(again, dict):
        for key, value in ours.items():
            yield from lost(value, again.get(key, "lost"), f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(again, list) and len(ours) == len(again):
        for i, (one, other) in enumerate(zip(ours, again, strict=True)):
            yield from lost(one, other, f"{path}[{i}]")
    elif ours != again:
        yield path


def test_the_dashboard_can_be_read() -> None:
    """Panels say what they show, have names and numbers of their own, and do not overlap."""
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert all(panel["description"].endswith(".") for panel in PANELS)
