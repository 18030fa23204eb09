"""What the policies of docs/cookbook.md gain: `python -m bench.cookbook` writes its tables."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from msgspec import Struct, field, structs

from paceline.engines.model.engine import EngineConfig
from paceline.scheduler.events import Action, Arrived, Event
from paceline.sim.arrivals import at_once, gaps, mixed, spaced
from paceline.sim.driver import Decider
from paceline.sim.generators import Chat, Generator, Gsp, generate
from paceline.sim.record import Row
from paceline.sim.run import RunConfig, decider, simulate
from paceline.sim.summary import e2e, spread, ttft, wait
from paceline.sim.workload import Workload

PAGE = Path(__file__).parents[1] / "docs" / "cookbook.md"
Figures = Callable[[Sequence[Row]], dict[str, float]]
SMALL = EngineConfig(kv_tokens=32768)
"""A pool that holds a dozen prompts, so that the proxy has something to order."""


class Recipe(Struct, frozen=True, kw_only=True):
    """One policy of the page, and what shows its effect."""

    name: str
    policy: str
    workload: Callable[[], Workload]
    figures: Figures
    settings: dict[str, Any] = field(default_factory=dict)
    against: str = "fcfs"
    against_settings: dict[str, Any] = field(default_factory=dict)
    engine: EngineConfig = SMALL
    backends: int = 1
    seconds: dict[str, float] = field(default_factory=dict)
    """Time that requests of a tenant give the proxy."""


class Hurried:
    """A scheduler whose requests have deadlines, which workloads of the simulator do not."""

    def __init__(self, decides: Decider, seconds: dict[str, float]) -> None:
        self._decides = decides
        self._seconds = seconds

    def handle(self, event: Event, now: float) -> list[Action]:
        """As the scheduler, told of the deadline."""
        if isinstance(event, Arrived):
            seconds = self._seconds[event.request.tenant]
            event = Arrived(structs.replace(event.request, deadline=now + seconds))
        return self._decides.handle(event, now)

    def deadline(self) -> float | None:
        """The scheduler's."""
        return self._decides.deadline()


def flow(tenant: str, rate: float | None, generator: Generator, cv: float = 1.0) -> Workload:
    """A tenant's requests: so many a second, or all at once."""
    sessions = generate(generator, 1, f"{tenant}-")
    if rate is None:
        return at_once(sessions)
    return spaced(sessions, gaps("gamma", rate, cv, Random(tenant)))


def alone(count: int, tokens: int = 1000, output: int = 32) -> Gsp:
    """Requests that share nothing."""
    return Gsp(groups=count, members=1, shared=0, unique=tokens, output=output)


def of(rows: Sequence[Row], *tenants: str) -> list[Row]:
    """The completed requests of these tenants, or of all."""
    return [row for row in rows if row.last and (not tenants or row.tenant in tenants)]


def in_time(rows: Sequence[Row]) -> dict[str, float]:
    """The part of those with a limit that kept it."""
    limits = {"brisk": 3.0, "patient": 30.0}
    return {
        f"begun within {limit:.0f} s": sum(ttft(row) <= limit for row in of(rows, tenant))
        / sum(row.tenant == tenant for row in rows)
        for tenant, limit in limits.items()
    }


def answered(rows: Sequence[Row]) -> dict[str, float]:
    """In the first ten seconds."""
    gold, free = (sum((r.last or 0) < 10 for r in of(rows, who)) for who in ("gold", "free"))
    return {"gold answered": gold, "free answered": free, "ratio": gold / free}


def lengths(rows: Sequence[Row]) -> dict[str, float]:
    """Mean time to the end of the answer."""
    tenants = {"all": (), "short": ("short",), "long": ("long",)}
    ends = {name: spread(map(e2e, of(rows, *who))).mean for name, who in tenants.items()}
    return {f"{name}, mean seconds to the end": mean for name, mean in ends.items()}


def office(rows: Sequence[Row]) -> dict[str, float]:
    """What people and the batch wait for."""
    return {
        "people, p90 TTFT s": spread(map(ttft, of(rows, "people"))).p90,
        "batch done after s": max(row.last or 0.0 for row in of(rows, "batch")),
    }


def moves(rows: Sequence[Row]) -> dict[str, float]:
    """Turns on another engine than the turn before."""
    turns = sorted(of(rows), key=lambda row: (row.id.partition("#")[0], row.arrival))
    pairs = [(a, b) for a, b in pairwise(turns) if "#" in b.id]
    cached = sum(row.cached for row in turns) / sum(row.prompt for row in turns)
    moved = sum(a.backend != b.backend for a, b in pairs) / len(pairs)
    first = spread(map(ttft, turns)).mean
    return {"turns that changed the engine": moved, "hit rate": cached, "TTFT mean s": first}


def rented(rows: Sequence[Row]) -> dict[str, float]:
    """What the second engine had to do."""
    part = sum(row.backend == "b1" for row in rows) / len(rows)
    return {"requests on the rented one": part, "TTFT mean s": spread(map(ttft, of(rows))).mean}


def waits(rows: Sequence[Row]) -> dict[str, float]:
    """In the queue."""
    waited = [wait(row) for row in of(rows)]
    return {"longest wait s": max(waited), "mean wait s": sum(waited) / len(waited)}


HOT = Gsp(groups=4, members=200, shared=2000, unique=600, output=16)
RECIPES = [
    Recipe(
        name="deadlines",
        policy="edf:Edf",
        workload=lambda: mixed(
            flow("brisk", 26, alone(240), 3.0), flow("patient", 26, alone(240), 3.0)
        ),
        figures=in_time,
        seconds={"brisk": 3.0, "patient": 30.0},
    ),
    Recipe(
        name="weights",
        policy="fair",
        settings={"weights": {"gold": 3.0, "free": 1.0}},
        workload=lambda: mixed(flow("gold", 40, alone(400)), flow("free", 40, alone(400))),
        figures=answered,
    ),
    Recipe(
        name="predicted",
        policy="predicted:Predicted",
        workload=lambda: mixed(
            flow("short", 16, alone(240, output=16)), flow("long", 6, alone(90, output=400))
        ),
        engine=EngineConfig(max_running=16),
        figures=lengths,
    ),
    Recipe(
        name="office",
        policy="office:Office",
        workload=lambda: mixed(flow("batch", None, alone(300)), flow("people", 5, alone(60))),
        figures=office,
    ),
    Recipe(
        name="sticky",
        policy="sticky:Sticky",
        workload=lambda: flow("", 8, Chat(sessions=120, turns=6, think=2.0)),
        backends=3,
        against="lpm",
        figures=moves,
    ),
    Recipe(
        name="thrifty",
        policy="thrifty:Thrifty",
        settings={"surcharge": {"b1": 0.5}},
        workload=lambda: flow("", 12, alone(300), 2.0),
        backends=2,
        against="lpm",
        figures=rented,
    ),
    Recipe(
        name="bound",
        policy="bound:Within",
        settings={"seconds": 5.0},
        workload=lambda: mixed(flow("hot", 60, HOT), flow("lone", 2, alone(30, tokens=2000))),
        against="lpm",
        against_settings={"max_wait_factor": 1e9},
        figures=waits,
    ),
]


def effect(recipe: Recipe) -> dict[str, dict[str, float]]:
    """The figures under the order that it is compared with, and under its own."""
    orders = {recipe.against: recipe.against_settings, recipe.policy: recipe.settings}
    return {name: recipe.figures(_rows(recipe, name, given)) for name, given in orders.items()}


def _rows(recipe: Recipe, policy: str, settings: dict[str, Any]) -> Sequence[Row]:
    config = RunConfig(
        policy=policy, settings=settings, engine=recipe.engine, backends=recipe.backends
    )
    decides: Decider = decider(config)
    if recipe.seconds:
        decides = Hurried(decides, recipe.seconds)
    return simulate(config, recipe.workload(), decides).rows


def save(folder: Path) -> None:
    """The page's policies as modules of this folder."""
    code = re.findall(r"<!-- example: save (\S+) -->\n```python\n(.*?)```", PAGE.read_text(), re.S)
    for name, text in code:
        (folder / name).write_text(text)


def table(figures: dict[str, dict[str, float]]) -> str:
    """A row a policy."""
    first = next(iter(figures.values()))
    lines = [f"| | {' | '.join(first)} |", "|---" * (len(first) + 1) + "|"]
    lines += [
        f"| `{name}` | {' | '.join(f'{value:.3g}' for value in values.values())} |"
        for name, values in figures.items()
    ]
    return "\n".join(lines) + "\n"


def written(page: str) -> str:
    """The page with its tables made anew; its policies must be importable."""
    for recipe in RECIPES:
        mark = f"<!-- effect: {recipe.name} -->\n"
        before, _, after = page.partition(mark)
        rest = re.sub(r"\A(?:\|.*\n)*", "", after)
        page = before + mark + table(effect(recipe)) + rest
    return page


def main() -> None:
    """The policies are read from the page, too."""
    with TemporaryDirectory() as folder:
        save(Path(folder))
        sys.path.append(folder)
        PAGE.write_text(written(PAGE.read_text()))


if __name__ == "__main__":
    main()
