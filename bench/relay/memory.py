"""`python -m bench.relay.memory`: a million requests with distinct prompts; memory must stay flat.

The load generator and the engines are those of `bench.relay`. The exit status is 0 when resident
memory grew by less than a twentieth over the second half.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import structs

from bench.processes import free_port
from bench.relay.measure import Window, measure
from bench.relay.processes import OTHER_CORE, PROXY_CORE, compiled, running, wait_until_ready
from bench.relay.scenarios import Scenario
from bench.relay.targets import PACELINE, urls
from bench.soak.verdict import growth, unflat

SCENARIO = Scenario(name="memory", connections=32, warm=100, window=10_000)
"""The last quarter of a prompt is never the same."""


def windows(requests: int, scenario: Scenario) -> list[Window]:
    """One after the other on one proxy, until so many requests were answered."""
    found: list[Window] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        engines = [free_port() for _ in range(2)]
        stack.enter_context(running([compiled("engine"), *map(str, engines)], OTHER_CORE))
        port = free_port()
        pid = stack.enter_context(running(PACELINE.command(port, engines, folder), PROXY_CORE))
        wait_until_ready(urls([port])[0])
        answered = 0
        while answered < requests:
            found.append(measure(PACELINE.name, scenario, port, pid))
            answered += found[-1].load.requests
            print(
                f"{answered:8d} {found[-1].rss_mb:6.1f} MB {found[-1].cpu_us:6.0f} us", flush=True
            )
    return found


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.relay.memory", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--body", type=int, default=2048, help="bytes of a request")
    options = parser.parse_args()
    found = windows(options.requests, structs.replace(SCENARIO, body=options.body))
    points = [(float(number), window.rss_mb) for number, window in enumerate(found)]
    errors = sum(window.load.errors for window in found)
    print(f"second half: {growth(points):+.1%}; {errors} errors")
    return 1 if unflat(points) or errors else 0


if __name__ == "__main__":
    sys.exit(main())
