"""A start costs what a plain proxy needs: the rest is imported where it is wanted."""

from __future__ import annotations

import subprocess
import sys

ELSEWHERE = (
    "aiohttp.web",  # the emulator's server
    "dns",
    "jinja2",
    "opentelemetry",
    "paceline.engines.emulator",
    "paceline.engines.measure",
    "paceline.engines.model",
    "paceline.lint",
    "paceline.plan",
    "paceline.proxy.workers",
    "paceline.sim",
    "pyarrow",
    "ray",
    "tokenizers",
    "transformers",
    "zmq",
)


def test_serving_engines_imports_nothing_for_others() -> None:
    """In front of engines of its own, with one process and no extra configured."""
    code = "import sys, paceline.cli, paceline.proxy.process.life; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "paceline.proxy.serving.relay" in done.stdout.split()
    assert not set(ELSEWHERE) & set(done.stdout.split())
