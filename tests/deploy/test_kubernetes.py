"""The chart and the plain manifests: valid, tight, and with time to drain."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from paceline.proxy.access.admission import OPEN
from paceline.proxy.config import Config
from paceline.proxy.process.load import load_config
from tests.deploy.chart import CHART, plain, render
from tests.deploy.files import DEPLOY, ROOT, documents, load, run

PLAIN = (DEPLOY / "kubernetes/paceline.yaml").read_text()
ENGINES = (DEPLOY / "kubernetes/engines.yaml").read_text()
EVERYTHING: dict[str, Any] = {
    "config": {
        "backends": [{"url": "https://e:8000", "models": ["m"], "api_key_env": "ENGINE_KEY"}],
        "server": {"grace_seconds": 2.5, "drain_seconds": 90},
        "scheduler": {"feed_chunks": 2, "follower_min_tokens": 256},
        "policy": {"name": "fair", "settings": {}},
        "discovery": [{"service": "vllm", "port": 8000}],
    },
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True},
    "dashboard": {"enabled": True},
    "env": [{"name": "ENGINE_KEY", "value": "k"}],
    "envFrom": [{"secretRef": {"name": "keys"}}],
    "volumes": [{"name": "tls", "secret": {"secretName": "tls"}}],
    "volumeMounts": [{"name": "tls", "mountPath": "/tls", "readOnly": True}],
    "podAnnotations": {"a": "b"},
    "podLabels": {"c": "d"},
    "nodeSelector": {"e": "f"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "imagePullSecrets": [{"name": "registry"}],
}
CUSTOM = ("ServiceMonitor", "PrometheusRule")
"""Kinds of the Prometheus operator, of which Kubernetes itself has no schema."""


def named(text: str, kind: str) -> dict[str, Any]:
    """The only manifest of this kind."""
    (found,) = [one for one in documents(text) if one["kind"] == kind]
    return found


def config_in(text: str, folder: Path) -> Config:
    """The proxy's configuration in the manifests, as the proxy reads it."""
    file = folder / "paceline.toml"
    maps = [one["data"] for one in documents(text) if one["kind"] == "ConfigMap"]
    (toml,) = [data["paceline.toml"] for data in maps if "paceline.toml" in data]
    file.write_text(toml)
    return load_config(file)


@pytest.fixture
def everything() -> str:
    """The chart with all that can be turned on."""
    pytest.importorskip("helm_python")
    return render(EVERYTHING)


def test_helm_lints_it() -> None:
    """`helm lint --strict` has nothing to say, with the defaults and with everything."""
    chart = pytest.importorskip("helm_python").chart
    for values in ({}, load("kubernetes/values.yaml"), EVERYTHING):
        report = chart.lint(CHART, values, strict=True)
        assert [one for one in report["messages"] if one["severity"] > 1] == []
        assert not report["errors"]


def test_the_values_shown_are_taken() -> None:
    """docs/deploy.md's values.yaml lints, and renders the backends that it names."""
    pytest.importorskip("helm_python")
    (shown,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/deploy.md").read_text(), re.S)
    assert "http://vllm-1.vllm:8000" in render(yaml.safe_load(shown))


def test_wrong_values_are_refused() -> None:
    """The chart's schema knows its keys."""
    pytest.importorskip("helm_python")
    with pytest.raises(Exception, match="replica"):
        render({"replica": 2})
    with pytest.raises(Exception, match="drain_seconds"):
        render({"config": {"server": {"drain_seconds": "long"}}})


def test_the_plain_manifests_are_the_charts() -> None:
    """Nobody has to keep them alike by hand."""
    pytest.importorskip("helm_python")
    assert plain() == PLAIN


def test_kubernetes_takes_them(everything: str) -> None:
    """Every manifest keeps Kubernetes' own schema, with no key unknown to it."""
    validate = pytest.importorskip("kubernetes_validate").validate
    kinds = set()
    for one in documents(PLAIN + everything + "---\n" + ENGINES):
        kinds.add(one["kind"])
        if one["kind"] not in CUSTOM:
            validate(one, "1.34", strict=True)
    assert {"Deployment", "Service", "PodDisruptionBudget", "ServiceMonitor"} <= kinds


def test_kubectl_reads_them(tmp_path: Path) -> None:
    """kubectl builds a kustomization out of them and loses none."""
    (tmp_path / "kustomization.yaml").write_text("resources: [paceline.yaml]\n")
    (tmp_path / "paceline.yaml").write_text(PLAIN)
    built = run("kubectl", "kustomize", tmp_path)
    assert len(documents(built)) == len(documents(PLAIN))


def test_the_proxy_takes_its_configuration(everything: str, tmp_path: Path) -> None:
    """What the chart writes loads, numbers of either kind included."""
    assert [backend.name for backend in config_in(PLAIN, tmp_path).backends] == [
        "vllm:8000",
        "sglang:30000",
    ]
    config = config_in(everything, tmp_path)
    assert config.server.grace_seconds == 2.5
    assert config.scheduler.follower_min_tokens == 256
    assert config.policy.name == "fair"


def test_probes_ask_what_is_open_to_all() -> None:
    """Readiness follows the engines, liveness does not, and neither needs a key."""
    (container,) = named(PLAIN, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/health"
    assert {"/ready", "/health"} <= OPEN
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": 8000, "admin": 9000}


def test_a_pod_may_drain(tmp_path: Path) -> None:
    """Endpoints have time to forget it, then streams to end, before Kubernetes kills it."""
    server = config_in(PLAIN, tmp_path).server
    pod = named(PLAIN, "Deployment")["spec"]["template"]["spec"]
    probe = pod["containers"][0]["readinessProbe"]
    assert server.grace_seconds > probe["periodSeconds"] * probe["failureThreshold"]
    patience = pod["terminationGracePeriodSeconds"]
    assert patience > server.grace_seconds + server.drain_seconds


def test_a_pod_has_few_rights() -> None:
    """Nobody's user, a file system that cannot be written, no token of the cluster's."""
    pod = named(PLAIN, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_it_may_look_up_engines_where_it_does() -> None:
    """Only with a Service to watch it has a token, and a role that reads endpoints alone."""
    pytest.importorskip("helm_python")
    services = [{"service": "vllm"}, {"service": "sglang", "namespace": "other"}]
    text = render({"config": {"discovery": services}})
    assert named(text, "Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"]
    roles = [one for one in documents(text) if one["kind"] == "Role"]
    assert {one["metadata"]["namespace"] for one in roles} == {"default", "other"}
    for role in roles:
        (rule,) = role["rules"]
        assert rule["resources"] == ["endpointslices"]
        assert rule["verbs"] == ["list", "watch"]
    assert not [one for one in documents(PLAIN) if one["kind"] == "Role"]


def test_the_example_engines_can_be_found() -> None:
    """Their Service has no address of its own, selects their pods, and names a port of theirs."""
    service, engines = named(ENGINES, "Service"), named(ENGINES, "StatefulSet")["spec"]
    pod = engines["template"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    (port,) = pod["spec"]["containers"][0]["ports"]
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]


def test_the_budget_lets_a_single_proxy_move() -> None:
    """It covers the proxy's pods, and `kubectl drain` does not hang on it."""
    budget = named(PLAIN, "PodDisruptionBudget")["spec"]
    pod = named(PLAIN, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"].items() <= pod.items()


def test_clients_do_not_see_the_admins_port() -> None:
    """The clients' Service has one port, and the other one no address of its own."""
    services = [one for one in documents(PLAIN) if one["kind"] == "Service"]
    clients, admins = sorted(services, key=lambda one: len(one["metadata"]["name"]))
    assert [port["targetPort"] for port in clients["spec"]["ports"]] == ["http"]
    assert admins["spec"]["clusterIP"] == "None"


def test_the_monitor_finds_the_admins_port(everything: str) -> None:
    """Its selector and its port are those of the admins' Service, and of no other."""
    monitor = named(everything, "ServiceMonitor")["spec"]
    wanted = monitor["selector"]["matchLabels"].items()
    services = [one for one in documents(everything) if one["kind"] == "Service"]
    (found,) = [one for one in services if wanted <= one["metadata"]["labels"].items()]
    assert [port["name"] for port in found["spec"]["ports"]] == [monitor["endpoints"][0]["port"]]
