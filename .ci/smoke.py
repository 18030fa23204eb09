"""Uses an installed paceline as a newcomer does: version, policies, serve, one chat, SIGTERM.

With `--empty` there was nothing else in the environment, and what was installed must be small.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time  # noqa: TID251 - the ban is for what decides
import urllib.error
import urllib.request
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

PACELINE = str(Path(sys.executable).with_name("paceline"))
READY_SECONDS = 30.0
STOP_SECONDS = 20.0
MOST_MB = 40
"""That paceline may take with all that it needs, compiled modules included."""
INSTALLERS = ("pip", "setuptools")
"""What an empty environment has."""


def main() -> None:
    """Raise at the first thing that is not as promised."""
    print(output("--version"))
    if "--empty" in sys.argv:
        size = installed_bytes() / 1e6
        print(f"{size:.1f} MB installed")
        assert size < MOST_MB, f"more than {MOST_MB} MB"
    policies = output("policies")
    print(policies)
    assert "lpm" in policies, "no lpm among the policies"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Without a backend it serves its own emulators.
    server = subprocess.Popen([PACELINE, "serve", "--port", str(port)])
    try:
        chat(f"http://127.0.0.1:{port}")
        server.send_signal(signal.SIGTERM)
        status = server.wait(STOP_SECONDS)
    finally:
        server.kill()
    assert status == 0, f"exit status {status} after SIGTERM"
    print("smoke test passed")


def output(*arguments: str) -> str:
    """What the command prints; CalledProcessError when it fails."""
    done = subprocess.run([PACELINE, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def installed_bytes() -> int:
    """The size of all files that installing brought."""
    brought = (one for one in distributions() if one.metadata["Name"] not in INSTALLERS)
    return sum(
        Path(str(file.locate())).stat().st_size for one in brought for file in one.files or ()
    )


def chat(url: str) -> None:
    """One chat request to the first model there is."""
    model = when_ready(f"{url}/v1/models")["data"][0]["id"]
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    answer = fetch(request)
    assert answer["choices"][0]["message"]["content"], answer
    print(answer)


def when_ready(url: str) -> Any:
    """The JSON there, asked for until it lists something."""
    end = time.monotonic() + READY_SECONDS
    while True:
        try:
            answer = fetch(url)
            if answer["data"]:
                return answer
        except (urllib.error.URLError, ConnectionError):
            pass
        assert time.monotonic() < end, f"nothing at {url} within {READY_SECONDS:.0f} s"
        time.sleep(0.1)


def fetch(request: str | urllib.request.Request) -> Any:
    """The answer's JSON."""
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


if __name__ == "__main__":
    main()
