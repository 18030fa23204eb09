"""What a decision costs: CPU time an event with many requests waiting, for each policy.

    python -m bench.scheduler [--waiting 10,1000,10000] [--backends 1,4] [--policies fcfs,lpm]

One decision is a request's whole life in the scheduler: it arrives, waits, is dispatched, shows its
first byte and ends, while the stated number of others wait. Prompts: 1 kB of text for all, families
of 8 that share 7 kB more, and 1 kB of their own (18 blocks).
"""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Iterator

import click
import msgspec

from paceline.policies import registry
from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.events import Arrived, BackendChanged, Dispatch, Event, Finished, FirstByte
from paceline.scheduler.policy import Policy
from paceline.scheduler.scheduler import Scheduler
from paceline.scheduler.types import BackendSpec, Request, Usage

FAMILY = 8
STEP = 0.002
"""Virtual seconds between two completions."""


def prompts(seed: int) -> Iterator[Request]:
    """Endless requests, eight to a family, mixed over the last 256 families."""
    rng = random.Random(seed)
    common = tuple(rng.getrandbits(60) for _ in range(2))
    families: list[list[tuple[int, ...]]] = []
    number = 0
    while True:
        while len(families) < 256:
            shared = common + tuple(rng.getrandbits(60) for _ in range(14))
            families.append([(*shared, rng.getrandbits(60), rng.getrandbits(60)) for _ in range(8)])
        family = rng.randrange(len(families))
        prefix = families[family].pop()
        if not families[family]:
            del families[family]
        number += 1
        yield Request(id=f"{number:012d}", arrived_at=0.0, prefix=prefix, prompt_tokens=2304)


def measure(policy: Policy, waiting: int, backends: int, decisions: int) -> float:
    """CPU microseconds a decision."""
    scheduler = Scheduler(SchedulerConfig(max_waiting=waiting + 8192), policy)
    for number in range(backends):
        spec = BackendSpec(id=f"b{number}", models=("m",), kv_tokens=65_536, max_running=64)
        scheduler.handle(BackendChanged(spec), 0.0)
    running: list[str] = []
    source = prompts(7)
    now = 0.0

    def feed(event: Event) -> None:
        for action in scheduler.handle(event, now):
            if isinstance(action, Dispatch):
                running.append(action.id)

    def arrive() -> None:
        feed(Arrived(msgspec.structs.replace(next(source), arrived_at=now)))

    def serve() -> None:
        nonlocal now
        now += STEP
        id = running.pop(0)
        feed(FirstByte(id))
        feed(Finished(id, Usage(output_tokens=64)))

    while scheduler.snapshot(now).waiting < waiting:
        arrive()
    started = time.process_time()
    for _ in range(decisions):
        arrive()
        serve()
    return (time.process_time() - started) / decisions * 1e6


@click.command()
@click.option("--waiting", default="0,10,1000,10000", help="Requests that wait, comma separated.")
@click.option("--backends", default="1,4,16", help="Backends, comma separated.")
@click.option("--policies", default="fcfs,lpm,random", help="Policies, comma separated.")
@click.option("--decisions", default=5000, help="Decisions measured in each cell.")
def main(waiting: str, backends: str, policies: str, decisions: int) -> None:
    """Print a table of microseconds a decision."""
    print(f"{'policy':12} {'backends':>8} {'waiting':>8} {'us/decision':>12} {'decisions/s':>12}")
    for name in policies.split(","):
        for fleet in map(int, backends.split(",")):
            for depth in map(int, waiting.split(",")):
                cost = measure(registry.load(name, {}), depth, fleet, decisions)
                print(f"{name:12} {fleet:8} {depth:8} {cost:12.1f} {1e6 / cost:12,.0f}", flush=True)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
