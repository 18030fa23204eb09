"""What the scheduler costs: CPU time a request over all its events, in the cases that matter.

    python -m bench.scheduler [direct] [waiting] [tenants] [long] [memory]

`direct`: nothing waits, the usual state of a fleet with room. `waiting`: the stated number of
others wait. `tenants`: they belong to so many tenants. `long`: prompts of 128k tokens. `memory`: a
million distinct prompts come and go; only when named, as it takes a minute.

Times are of `handle` and of `deadline`, which the proxy asks after each event, and of the best of
`ROUNDS` rounds, since what else the machine does only adds to them. To compare two versions run one
after the other on the same machine, the other one with `PYTHONPATH=its/checkout`.
"""

from __future__ import annotations

import gc
import resource
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count, islice
from random import Random

import click

from paceline.policies import registry
from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.events import Arrived, BackendChanged, Dispatch, Event, Finished, FirstByte
from paceline.scheduler.scheduler import Scheduler
from paceline.scheduler.types import BackendSpec, Request, Usage

COLLECT_AFTER = 50_000
"""New objects after which the cycle collector looks: as in the proxy."""
ROUNDS = 5
STEP = 0.002
"""Virtual seconds between two requests."""
IN_FLIGHT = (4, 28)
"""Requests that prefill and that decode in `direct` and `memory`."""
USAGE = Usage(output_tokens=64)

Requests = Iterator[Request]


def key(rng: Random) -> int:
    """What no other block has."""
    return rng.getrandbits(62)


def request(number: int, prefix: tuple[int, ...], tokens: int, **more: object) -> Request:
    """One that arrives in its turn."""
    facts = {"model": "m", "arrived_at": number * STEP, "max_tokens": 64} | more
    return Request(id=f"{number:016x}", prefix=prefix, prompt_tokens=tokens, **facts)  # type: ignore[arg-type]


def distinct(streaming: bool = False) -> Requests:
    """Prompts of 500 tokens with nothing in common; `json32` in docs/performance.md."""
    rng = Random(7)
    for number in count():
        yield request(number, (key(rng), key(rng), key(rng)), 500, streaming=streaming)


def families(size: int = 64) -> Requests:
    """Streams of so many families in turn: 1,700 tokens in common and 300 of their own."""
    rng = Random(7)
    shared = [tuple(key(rng) for _ in range(13)) for _ in range(size)]
    for number in count():
        yield request(number, (*rng.choice(shared), key(rng), key(rng)), 2000)


def mixed(tenants: int = 1) -> Requests:
    """Eight to a family, mixed over 256 families: 256 tokens for all, 1,792 for the family."""
    rng = Random(7)
    common = (key(rng), key(rng))
    open_: list[tuple[tuple[int, ...], list[int]]] = []
    for number in count():
        while len(open_) < 256:
            open_.append((common + tuple(key(rng) for _ in range(14)), list(range(8))))
        place = rng.randrange(len(open_))
        shared, left = open_[place]
        left.pop()
        if not left:
            del open_[place]
        tenant = f"t{number % tenants}"
        yield request(number, (*shared, key(rng), key(rng)), 2304, tenant=tenant)


def long() -> Requests:
    """128k tokens each, with the first half in common."""
    rng = Random(7)
    shared = tuple(key(rng) for _ in range(80))
    for number in count():
        yield request(number, shared + tuple(key(rng) for _ in range(90)), 131_072)


class Load:
    """A scheduler, its clients and its engines, which answer in the order of dispatch."""

    def __init__(self, policy: str, backends: int, kv_tokens: int, max_running: int) -> None:
        self.scheduler = Scheduler(SchedulerConfig(max_waiting=20_000), registry.load(policy, {}))
        self.prefilling: deque[str] = deque()
        self.decoding: deque[str] = deque()
        self.waiting = 0
        self.now = 0.0
        for number in range(backends):
            spec = BackendSpec(
                id=f"http://10.0.0.{number}:8000",
                models=("m",),
                kv_tokens=kv_tokens,
                max_running=max_running,
            )
            self.feed(BackendChanged(spec))

    def feed(self, event: Event) -> None:
        for action in self.scheduler.handle(event, self.now):
            assert isinstance(action, Dispatch)
            self.prefilling.append(action.id)
            self.waiting -= 1
        self.scheduler.deadline()

    def arrive(self, request: Request) -> None:
        self.waiting += 1
        self.now = request.arrived_at
        self.feed(Arrived(request))

    def begin(self, streaming: bool) -> None:
        id = self.prefilling.popleft()
        self.decoding.append(id)
        if streaming:
            self.feed(FirstByte(id))

    def play(self, requests: list[Request], prefilling: int = 0, decoding: int = 0) -> float:
        """CPU microseconds a request; as one arrives one gets its first byte and one ends, but for
        so many."""
        streaming = requests[0].streaming
        started = time.process_time()
        for each in requests:
            self.arrive(each)
            if len(self.prefilling) > prefilling:
                self.begin(streaming)
            if len(self.decoding) > decoding:
                self.feed(Finished(self.decoding.popleft(), USAGE))
        return (time.process_time() - started) / len(requests) * 1e6


def best(load: Load, source: Requests, requests: int, *in_flight: int) -> float:
    """The best round; requests are made before the clock runs."""
    rounds = [list(islice(source, requests)) for _ in range(ROUNDS)]
    gc.collect()
    gc.freeze()
    return min(load.play(each, *in_flight) for each in rounds)


def row(*cells: object, cost: float) -> None:
    click.echo("".join(f"{cell!s:>16}" for cell in cells) + f"{cost:14.1f}{1e6 / cost:14,.0f}")


def titles(*cells: str) -> None:
    click.echo("\n" + "".join(f"{cell:>16}" for cell in (*cells, "us/request", "requests/s")))


def direct() -> None:
    titles("direct", "policy", "backends")
    kinds: dict[str, Callable[[], Requests]] = {
        "json32": distinct,
        "stream32": lambda: distinct(True),
        "families": families,
    }
    for backends in (2, 16, 64):
        for kind, source in kinds.items():
            for policy in ("auto", "fcfs"):
                load = Load(policy, backends, kv_tokens=400_000, max_running=256)
                row(kind, policy, backends, cost=best(load, source(), 4000, *IN_FLIGHT))
                assert not load.waiting


def backlog(
    policy: str, backends: int, waiting: int, tenants: int = 1, requests: int = 4000
) -> float:
    """CPU microseconds a request while others wait."""
    load = Load(policy, backends, kv_tokens=65_536, max_running=64)
    source = mixed(tenants)
    while load.waiting < waiting:
        load.arrive(next(source))
    return best(load, source, requests)


def queued() -> None:
    titles("waiting", "policy", "backends")
    for backends in (1, 4, 16, 64):
        for waiting in (10, 1000, 10_000):
            for policy in ("lpm", "auto", "fcfs") if backends == 1 else ("auto",):
                row(waiting, policy, backends, cost=backlog(policy, backends, waiting))


def shared_out() -> None:
    titles("waiting", "tenants", "policy")
    for tenants in (1, 10, 100, 1000, 10_000):
        row(10_000, tenants, "auto", cost=backlog("auto", 1, 10_000, tenants, 1000))


def prolonged() -> None:
    titles("prompt tokens", "policy", "backends")
    for backends in (1, 16):
        load = Load("auto", backends, kv_tokens=4_000_000, max_running=256)
        row(131_072, "auto", backends, cost=best(load, long(), 200))


def memory() -> None:
    """Nodes, blocks and resident memory as distinct prompts come and go."""
    click.echo("\n" + "".join(f"{t:>16}" for t in ("finished", "nodes", "blocks", "MiB")))
    load = Load("auto", 2, kv_tokens=400_000, max_running=256)
    source = distinct()
    for finished in range(100_000, 1_000_001, 100_000):
        for _ in range(100):
            load.play(list(islice(source, 1000)), *IN_FLIGHT)
        now = load.scheduler.snapshot(load.now)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        click.echo(f"{finished:16,}{now.trie_nodes:16,}{now.trie_blocks:16,}{peak:16.0f}")


CASES = {
    "direct": direct,
    "waiting": queued,
    "tenants": shared_out,
    "long": prolonged,
    "memory": memory,
}


@click.command()
@click.argument("cases", nargs=-1, type=click.Choice(list(CASES)))
def main(cases: tuple[str, ...]) -> None:
    """Print what a request costs the scheduler in these cases; without a name all but `memory`."""
    gc.set_threshold(COLLECT_AFTER)
    for case in cases or list(CASES)[:-1]:
        CASES[case]()


if __name__ == "__main__":
    main()
