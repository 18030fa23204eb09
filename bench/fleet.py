"""Several proxies behind a round robin, in virtual time: what is lost, and what sharing wins back.

    python -m bench.fleet [--proxies 4] [--backends 4] [--seeds 1]
    python -m bench.fleet --flood
    python -m bench.fleet --real [--kind vllm] [--seeds 4]

Each proxy has a scheduler of its own. What one sends to an engine, and how that goes on, the others
hear in batches, 1 ms later: every `interval`, and at once of what is large. They take it for a
request of theirs that is there already. With `homes`, a request is decided by the proxy that its
prefix belongs to, wherever it came in. Engines are models of vLLM and SGLang (Llama-3.1-8B on an
H100, a KV pool of 65,536 tokens, 30,000 for `small`); the workloads are as in `bench.policies`,
times the engines. With several seeds the figures are means, and the hit rate has its standard
error: one run's differs from the next by some 0.02. docs/fleet.md has the design.

`--flood`: two engines and a backlog through the first proxy alone; how others fare meanwhile.
`--real`: processes, a real store, two emulated engines with small pools, and the wall clock, some
20 s a run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from math import ceil, inf, sqrt
from pathlib import Path
from random import Random
from statistics import mean, stdev
from tempfile import TemporaryDirectory

import click
from msgspec.structs import replace

from bench.virtual import KV_TOKENS, PRESET
from paceline.engines.model.engine import EngineConfig, ModelKind
from paceline.policies.registry import load
from paceline.proxy.fleet.member import QUICK_SECONDS
from paceline.proxy.fleet.outbox import LARGE_TOKENS
from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.events import (
    Action,
    Arrived,
    Dispatch,
    Event,
    Finished,
    FirstByte,
    ProxiesChanged,
    Sent,
)
from paceline.scheduler.scheduler import Scheduler
from paceline.scheduler.types import Request
from paceline.sim.arrivals import at_once, gaps, mixed, spaced
from paceline.sim.generators import Chat, Gsp, generate
from paceline.sim.run import RunConfig, simulate
from paceline.sim.summary import Slo, Summary, summarise
from paceline.sim.workload import Workload
from tests.real import fleet as processes

SEED = 1
LATENCY = 0.001
"""Seconds from one proxy over the store to another, in one data centre."""
SMALL_TOKENS = 30_000
"""The pool of each engine for `small`: 14 of the 20 families for each."""
HOME_BLOCKS = 8
"""Blocks of a prompt that say where it belongs: a thousand tokens. What all prompts begin with is
less, and must not bring all of them to one proxy."""
REAL_REQUESTS = 400
REAL_RATE = 60.0
"""Requests a second of the stream that `--real` plays."""
SHARING: tuple[tuple[float | None, bool], ...] = (
    (None, False),
    (1.0, False),
    (0.05, False),
    (0.01, False),
    (None, True),
    (1.0, True),
    (0.05, True),
    (0.01, True),
)
"""Seconds between batches, None for nothing shared, and whether prefixes have homes."""


class Fleet:
    """The proxies, as one decider for the simulator."""

    def __init__(self, proxies: int, interval: float | None, homes: bool) -> None:
        made = [Scheduler(SchedulerConfig(), load("auto", {}), k) for k in range(proxies)]
        self._peers = made
        for peer in made if interval is not None else ():
            peer.handle(ProxiesChanged(proxies), 0.0)
        self._interval = interval
        self._homes = homes
        self._turn = 0
        self._owner: dict[str, int] = {}
        self._requests: dict[str, Request] = {}
        self._large: set[str] = set()
        self._sent_at: dict[str, float] = {}
        self._untold: list[list[Event]] = [[] for _ in made]
        """What each has not told yet."""
        self._told_at = [-inf] * proxies
        self._due = [inf] * proxies
        """When each tells."""
        self._news: deque[tuple[float, int, list[Event]]] = deque()

    def handle(self, event: Event, now: float) -> list[Action]:
        """Let whom it concerns decide, after whatever they have heard by now."""
        actions = self._deliver(now)
        owner = self._owner.get(getattr(event, "id", ""))
        if isinstance(event, Arrived):
            owner = self._owner[event.request.id] = self._decider_of(event.request)
            self._requests[event.request.id] = event.request
        if owner is None:  # of the backends, or of time
            for k, peer in enumerate(self._peers):
                actions += self._said(k, peer.handle(event, now), now)
            return actions
        if not isinstance(event, Arrived):
            large = isinstance(event, FirstByte) and event.id in self._large
            self._publish(owner, self._timed(event, now), now, large=large)
        return actions + self._said(owner, self._peers[owner].handle(event, now), now)

    def deadline(self) -> float | None:
        """The next deadline of any, or the next news."""
        times = [at for peer in self._peers if (at := peer.deadline()) is not None]
        times += [at for at in self._due if at < inf]
        return min([*times, *(news[0] for news in list(self._news)[:1])], default=None)

    def _timed(self, event: Event, now: float) -> Event:
        """As its proxy tells it: others hear late of beginning and end."""
        if isinstance(event, FirstByte | Finished):
            return replace(event, took=now - self._sent_at[event.id])
        return event

    def _decider_of(self, request: Request) -> int:
        if self._homes and request.prefix:
            return request.prefix[:HOME_BLOCKS][-1] % len(self._peers)
        self._turn += 1
        return self._turn % len(self._peers)

    def _deliver(self, now: float) -> list[Action]:
        actions: list[Action] = []
        for k, due in enumerate(self._due):
            if due <= now:
                self._tell(k, now)
        while self._news and self._news[0][0] <= now:
            _, source, batch = self._news.popleft()
            for k, peer in enumerate(self._peers):
                for news in batch if k != source else ():
                    actions += self._said(k, peer.handle(news, now), now)
        return actions

    def _tell(self, k: int, now: float) -> None:
        self._news.append((now + LATENCY, k, self._untold[k]))
        self._untold[k], self._told_at[k], self._due[k] = [], now, inf

    def _said(self, k: int, actions: list[Action], now: float) -> list[Action]:
        for action in actions:
            if isinstance(action, Dispatch):
                request = self._requests[action.id]
                large = request.prompt_tokens - action.cached_tokens >= LARGE_TOKENS
                if large:
                    self._large.add(request.id)
                self._sent_at[request.id] = now
                self._publish(k, Sent(request, action.backend), now, large=large)
        return actions

    def _publish(self, k: int, news: Event, now: float, *, large: bool) -> None:
        if self._interval is None or len(self._peers) == 1:
            return
        self._untold[k].append(news)
        wait = min(QUICK_SECONDS, self._interval) if large else self._interval
        self._due[k] = min(self._due[k], max(now, self._told_at[k] + wait))


class Flooded(Fleet):
    """All of the flood comes in at the first proxy, and the rest at the others in turn."""

    def _decider_of(self, request: Request) -> int:
        others = len(self._peers) - 1
        if not others or request.id.startswith("flood"):
            return 0
        self._turn += 1
        return 1 + self._turn % others


def workloads(backends: int, seed: int = SEED) -> Iterator[tuple[str, Callable[[], Workload]]]:
    """Backlogs, a stream of families, conversations: as much for each engine as on one."""
    many = Gsp(groups=64 * backends)
    yield "many", lambda: at_once(generate(many, seed))
    long = Gsp(groups=24 * backends, shared=6000, unique=100, output=64)
    yield "long", lambda: at_once(generate(long, seed))
    p45 = Gsp(groups=64 * backends, members=10, output=32)
    yield "p45", lambda: spaced(generate(p45, seed), _poisson(45.0 * backends, seed))
    chat = Chat(sessions=100 * backends, think=5.0)
    yield "chat", lambda: spaced(generate(chat, seed), _poisson(4.0 * backends, seed))
    small = Gsp(groups=20 * backends, members=10, unique=100, output=16)
    yield "small", lambda: spaced(generate(small, seed), _poisson(30.0 * backends, seed))


def _poisson(rate: float, seed: int) -> Iterator[float]:
    return gaps("poisson", rate, 1.0, Random(seed))


def engine(kind: ModelKind, kv_tokens: int = KV_TOKENS) -> EngineConfig:
    """The engine model of this kind."""
    time = PRESET[kind].vllm if kind == "vllm" else PRESET[kind].sglang
    return EngineConfig(kind=kind, time=time, kv_tokens=kv_tokens)


@click.command()
@click.option("--proxies", default=4, help="Proxies behind the round robin.")
@click.option("--backends", default=4, help="Engines.")
@click.option("--kind", "kinds", default="vllm,sglang", help="With commas between.")
@click.option("--only", default="", help="Workloads, with commas between; all by default.")
@click.option("--seeds", default=1, help="Runs of each workload.")
@click.option("--flood", is_flag=True, help="A backlog at one proxy, and who else waits.")
@click.option("--real", is_flag=True, help="Processes and a real store instead of virtual time.")
def main(
    proxies: int, backends: int, kinds: str, only: str, seeds: int, flood: bool, real: bool
) -> None:
    """One proxy, several that share nothing, and several that share at different intervals."""
    names: list[ModelKind] = ["vllm" if kind == "vllm" else "sglang" for kind in kinds.split(",")]
    if flood:
        for kind in names:
            flooded(kind, proxies)
    elif real:
        for kind in names:
            asyncio.run(compare(kind, proxies, seeds))
    else:
        simulated(proxies, backends, names, only, seeds)


def simulated(proxies: int, backends: int, kinds: list[ModelKind], only: str, seeds: int) -> None:
    """The table of all workloads and ways to share."""
    click.echo(
        "| engine | workload | proxies | shared every | homes | hit | makespan | TTFT, p99 |"
    )
    click.echo("|---|---|---|---|---|---|---|---|")
    for kind in kinds:
        for name, _ in workloads(backends):
            if only and name not in only.split(","):
                continue
            kv_tokens = SMALL_TOKENS if name == "small" else KV_TOKENS
            config = RunConfig(engine=engine(kind, kv_tokens), backends=backends)
            for count, (interval, homes) in [(1, (None, False)), *((proxies, s) for s in SHARING)]:
                found = [
                    run(config, name, seed, Fleet(count, interval, homes))
                    for seed in range(SEED, SEED + seeds)
                ]
                click.echo(f"| {kind} | {name} | {count} | {row(interval, homes, found)}")


def run(config: RunConfig, name: str, seed: int, fleet: Fleet) -> Summary:
    """One run of a workload."""
    workload = dict(workloads(config.backends, seed))[name]
    return summarise(simulate(config, workload(), fleet).rows, Slo())


def row(interval: float | None, homes: bool, found: list[Summary]) -> str:
    """The rest of one line of the table; seconds."""
    shared = "-" if interval is None else f"{interval * 1e3:g} ms"
    hits = [one.hit_rate for one in found]
    times = ", ".join(
        f"{mean(values):.2f}"
        for values in ([one.ttft_s.mean for one in found], [one.ttft_s.p99 for one in found])
    )
    return (
        f"{shared} | {'yes' if homes else '-'} | {_mean(hits)}"
        f" | {mean([one.makespan_s for one in found]):.2f} | {times} |"
    )


def _mean(hits: list[float]) -> str:
    """With its standard error, where there are several."""
    error = f" ± {stdev(hits) / sqrt(len(hits)):.3f}" if len(hits) > 1 else ""
    return f"{mean(hits):.3f}{error}"


def flooded(kind: ModelKind, proxies: int) -> None:
    """Print how long requests of few families wait while a backlog of another proxy's runs."""
    config = RunConfig(engine=engine(kind), backends=2)
    for count, interval in ((1, None), (2, None), (2, 0.05), (proxies, 0.05)):
        flood = at_once(generate(Gsp(groups=128, members=6, output=32), SEED, "flood"))
        few = generate(Gsp(groups=8, members=10, output=32), SEED + 1, "few")
        workload = mixed(flood, spaced(few, _poisson(5.0, SEED)))
        rows = simulate(config, workload, Flooded(count, interval, homes=False)).rows
        over = max(r.last or 0.0 for r in rows if r.id.startswith("flood"))
        waits = sorted(
            r.first - r.arrival
            for r in rows
            if r.id.startswith("few") and r.arrival < over and r.first is not None
        )
        shared = "nothing shared" if interval is None else f"every {interval * 1e3:g} ms"
        click.echo(
            f"{kind}, {count} proxies, {shared}: the others' TTFT {mean(waits):.2f} s, "
            f"p99 {waits[ceil(0.99 * len(waits)) - 1]:.2f} s; flood over after {over:.2f} s"
        )


async def compare(kind: ModelKind, proxies: int, seeds: int) -> None:
    """Print the hit rates of one real proxy and of several, by seed."""
    for count in (1, proxies):
        hits: list[float] = []
        for seed in range(SEED, SEED + seeds):
            with TemporaryDirectory() as folder:
                made = processes.fleet(Path(folder), count, kind, SMALL_TOKENS)
                async with made as fleet:
                    played = await processes.play(fleet, REAL_REQUESTS, REAL_RATE, seed)
            hits.append(played.hit_rate)
        each = ", ".join(f"{hit:.3f}" for hit in hits)
        click.echo(f"{kind}, {count} proxies: {_mean(hits)} ({each})")


if __name__ == "__main__":
    main()
