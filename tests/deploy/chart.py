"""Renders the Helm chart with Helm's own library.

`python -m tests.deploy.chart > deploy/kubernetes/paceline.yaml` writes the plain manifests.
"""

from __future__ import annotations

from typing import Any

from tests.deploy.files import DEPLOY, load

CHART = DEPLOY / "helm/paceline"
HEADER = """\
# Made from the Helm chart; change it there, or set its values:
#   helm template paceline deploy/helm/paceline --values deploy/kubernetes/values.yaml
"""


def render(values: dict[str, Any]) -> str:
    """All manifests of a release called `paceline`; raises what Helm raises."""
    from helm_python.chart import Chart

    with Chart.load(CHART) as chart:
        rendered = chart.render(values, name="paceline", namespace="default")
    texts = [text.strip() for name, text in sorted(rendered.items()) if name.endswith(".yaml")]
    return "".join(f"---\n{text.removeprefix('---').strip()}\n" for text in texts if text)


def plain() -> str:
    """deploy/kubernetes/paceline.yaml."""
    return HEADER + render(load("kubernetes/values.yaml"))


if __name__ == "__main__":
    print(plain(), end="")
