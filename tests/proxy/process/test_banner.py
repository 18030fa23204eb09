"""What is printed at the start can be copied and run."""

from __future__ import annotations

import json
import shlex

import msgspec

from paceline.proxy.config import BackendConfig, Config
from paceline.proxy.process.banner import banner
from paceline.scheduler.snapshot import BackendSnapshot
from tests.proxy.telemetry.test_gauges import FULL

BASE = "http://127.0.0.1:8000"
CONFIG = Config(
    backends=[
        BackendConfig(url="http://a:1", name="a:1"),
        BackendConfig(url="http://10.0.0.8:2", name="b:2"),
    ]
)


def curl_of(text: str) -> list[str]:
    """The printed curl line as a shell splits it."""
    (line,) = (line for line in text.splitlines() if line.lstrip().startswith("curl "))
    return shlex.split(line)


def test_names_everything_to_look_at() -> None:
    """Address, policy, each backend with its models or its trouble, dashboard and metrics."""
    text = banner(CONFIG, BASE, FULL.backends)
    assert text.splitlines()[0].endswith(f"listens on {BASE}")
    assert "  policy    auto\n" in text
    assert "  backend   http://a:1 (m)\n" in text
    assert "  backend   b:2 at http://10.0.0.8:2 (down: asked again until it answers)\n" in text
    assert f"  dashboard {BASE}/paceline/ui\n" in text
    assert f"  metrics   {BASE}/metrics\n" in text


def test_the_curl_line_names_a_model_that_is_served() -> None:
    """The line survives a shell, whatever the model is called."""
    odd = msgspec.structs.replace(FULL.backends[0], models=["it's"])
    words = curl_of(banner(CONFIG, BASE, [odd]))
    assert words[2] == f"{BASE}/v1/chat/completions"
    assert json.loads(words[-1])["model"] == "it's"


def test_without_a_model_the_line_says_so() -> None:
    """While no backend has answered, the model is left for the reader to fill in."""
    none: list[BackendSnapshot] = [FULL.backends[1]]
    assert json.loads(curl_of(banner(CONFIG, BASE, none))[-1])["model"] == "MODEL"
