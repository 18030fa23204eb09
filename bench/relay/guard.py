"""Fails when a request has become dearer: CPU of the relay over that of the reference proxy.

`python -m bench.relay.guard` takes about 15 s. Both proxies run side by side on one core and are
asked in turn, so that whatever else the machine does hits both; the median of the rounds' ratios is
held against `USUAL`.
"""

from __future__ import annotations

import statistics
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.processes import free_port
from bench.relay.measure import measure
from bench.relay.processes import OTHER_CORE, PROXY_CORE, compiled, running, wait_until_ready
from bench.relay.scenarios import Scenario
from bench.relay.targets import PACELINE, REFERENCE, urls

USUAL = 8.2
"""CPU of a 2 kB JSON request, relay over reference, as of the last change that meant to move it, on
two busy cores: there our larger working set costs more of its cache than the reference's does (6.7
on quiet ones), and a guard must not cry wolf."""
GROWTH = 1.15
"""What is too much: above the spread of the median between runs on two busy cores."""
ROUNDS = 7
SCENARIO = Scenario(name="guard", connections=16, warm=100, window=700)


def ratios() -> list[float]:
    """One ratio a round."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        engines = [free_port() for _ in range(2)]
        stack.enter_context(running([compiled("engine"), *map(str, engines)], OTHER_CORE))
        proxies = []
        for target in (PACELINE, REFERENCE):
            port = free_port()
            command = target.command(port, engines, folder)
            proxies.append((port, stack.enter_context(running(command, PROXY_CORE))))
            wait_until_ready(urls([port])[0])
        return [_round(proxies) for _ in range(ROUNDS)]


def _round(proxies: list[tuple[int, int]]) -> float:
    ours, least = (measure("", SCENARIO, port, pid).cpu_us for port, pid in proxies)
    print(f"  {ours:6.1f} us against {least:6.1f} us: {ours / least:.2f}")
    return ours / least


def main() -> None:
    """Print the rounds; exit with an error if the median is too high."""
    median = statistics.median(ratios())
    print(f"a request costs {median:.2f} times the reference's; usual: {USUAL}")
    if median > USUAL * GROWTH:
        sys.exit(f"more than {GROWTH:.2f} times the usual: see docs/performance.md")


if __name__ == "__main__":
    main()
