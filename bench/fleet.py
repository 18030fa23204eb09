"""Several proxies behind a round robin, in virtual time: what is lost, and what sharing wins back.

    python -m bench.fleet [--proxies 4] [--backends 4]

Each proxy has a scheduler of its own. What one sends to an engine, and how that goes on, the others
hear in batches: every `interval`, 1 ms later. They take it for a request of theirs that is there
already. With `homes`, a request is decided by the proxy that its prefix belongs to, wherever it
came in. Engines are models of vLLM and SGLang (Llama-3.1-8B on an H100, a KV pool of 65,536
tokens); the workloads are as in `bench.policies`, times the engines. docs/fleet.md has the design.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from math import floor
from random import Random

import click

from bench.virtual import KV_TOKENS, PRESET
from paceline.engines.model.engine import EngineConfig, ModelKind
from paceline.policies.registry import load
from paceline.scheduler.config import SchedulerConfig
from paceline.scheduler.events import Action, Arrived, Dispatch, Event, ProxiesChanged, Sent
from paceline.scheduler.scheduler import Scheduler
from paceline.scheduler.types import Request
from paceline.sim.arrivals import at_once, gaps, spaced
from paceline.sim.generators import Chat, Gsp, generate
from paceline.sim.run import RunConfig, simulate
from paceline.sim.summary import Slo, Summary, summarise
from paceline.sim.workload import Workload

SEED = 1
LATENCY = 0.001
"""Seconds from one proxy over the store to another, in one data centre."""
HOME_BLOCKS = 8
"""Blocks of a prompt that say where it belongs: a thousand tokens. What all prompts begin with is
less, and must not bring all of them to one proxy."""
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
        self._news: deque[tuple[float, int, Event]] = deque()
        self.messages = 0

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
            self._publish(owner, event, now)
        return actions + self._said(owner, self._peers[owner].handle(event, now), now)

    def deadline(self) -> float | None:
        """The next deadline of any, or the next news."""
        times = [at for peer in self._peers if (at := peer.deadline()) is not None]
        return min([*times, *(news[0] for news in list(self._news)[:1])], default=None)

    def _decider_of(self, request: Request) -> int:
        if self._homes and request.prefix:
            return request.prefix[:HOME_BLOCKS][-1] % len(self._peers)
        self._turn += 1
        return self._turn % len(self._peers)

    def _deliver(self, now: float) -> list[Action]:
        actions: list[Action] = []
        while self._news and self._news[0][0] <= now:
            _, source, news = self._news.popleft()
            for k, peer in enumerate(self._peers):
                if k != source:
                    actions += self._said(k, peer.handle(news, now), now)
        return actions

    def _said(self, k: int, actions: list[Action], now: float) -> list[Action]:
        for action in actions:
            if isinstance(action, Dispatch):
                self._publish(k, Sent(self._requests[action.id], action.backend), now)
        return actions

    def _publish(self, k: int, news: Event, now: float) -> None:
        if self._interval is None or len(self._peers) == 1:
            return
        due = now if not self._interval else (floor(now / self._interval) + 1) * self._interval
        self._news.append((due + LATENCY, k, news))
        self.messages += 1


def workloads(backends: int) -> Iterator[tuple[str, Callable[[], Workload]]]:
    """Backlogs, a stream of families, conversations: as much for each engine as on one."""
    many = Gsp(groups=64 * backends)
    yield "many", lambda: at_once(generate(many, SEED))
    long = Gsp(groups=24 * backends, shared=6000, unique=100, output=64)
    yield "long", lambda: at_once(generate(long, SEED))
    p45 = Gsp(groups=64 * backends, members=10, output=32)
    yield "p45", lambda: spaced(generate(p45, SEED), _poisson(45.0 * backends))
    chat = Chat(sessions=100 * backends, think=5.0)
    yield "chat", lambda: spaced(generate(chat, SEED), _poisson(4.0 * backends))


def _poisson(rate: float) -> Iterator[float]:
    return gaps("poisson", rate, 1.0, Random(SEED))


def engine(kind: ModelKind) -> EngineConfig:
    """The engine model of this kind."""
    time = PRESET[kind].vllm if kind == "vllm" else PRESET[kind].sglang
    return EngineConfig(kind=kind, time=time, kv_tokens=KV_TOKENS)


@click.command()
@click.option("--proxies", default=4, help="Proxies behind the round robin.")
@click.option("--backends", default=4, help="Engines.")
@click.option("--kind", "kinds", default="vllm,sglang", help="With commas between.")
@click.option("--only", default="", help="Workloads, with commas between; all by default.")
def main(proxies: int, backends: int, kinds: str, only: str) -> None:
    """One proxy, several that share nothing, and several that share at different intervals."""
    click.echo(
        "| engine | workload | proxies | shared every | homes | hit | makespan | TTFT, p99 |"
    )
    click.echo("|---|---|---|---|---|---|---|---|")
    for kind in kinds.split(","):
        for name, workload in workloads(backends):
            if only and name not in only.split(","):
                continue
            model = engine("vllm" if kind == "vllm" else "sglang")
            config = RunConfig(engine=model, backends=backends)
            for count, (interval, homes) in [(1, (None, False)), *((proxies, s) for s in SHARING)]:
                rows = simulate(config, workload(), Fleet(count, interval, homes)).rows
                found = summarise(rows, Slo())
                click.echo(f"| {kind} | {name} | {count} | {row(interval, homes, found)}")


def row(interval: float | None, homes: bool, found: Summary) -> str:
    """The rest of one line of the table; seconds."""
    shared = "-" if interval is None else f"{interval * 1e3:g} ms"
    times = f"{found.ttft_s.mean:.2f}, {found.ttft_s.p99:.2f}"
    return (
        f"{shared} | {'yes' if homes else '-'} | {found.hit_rate:.3f}"
        f" | {found.makespan_s:.2f} | {times} |"
    )


if __name__ == "__main__":
    main()
