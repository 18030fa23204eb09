"""The emulator, driven through the proxy, against the simulator: the same requests, the same TTFT.

    python -m bench.agreement [--engines vllm,sglang] [--check]

Families of prompts go to one emulated A100 that plays at a quarter of its speed, with a KV pool of
half the families: `steady`, at random (Poisson) under lpm, and `backlog`, all at once under fcfs.
Emulator, proxy and client are real processes in real time; all takes eight minutes. The simulator
plays the same arrivals; its front end takes no time, for the emulator has none.

The cases are such that milliseconds stay milliseconds. Nearer to saturation, and with a backlog
under lpm, the order of requests amplifies them: in the simulator itself, arrivals moved by up to
10 ms change percentiles of 200 requests by 10% and more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import click
from msgspec import Struct, structs

from bench.load import Prompt, Result, send
from bench.processes import free_port, paceline
from bench.virtual import Workload, sessions
from paceline.engines.model.engine import EngineConfig, ModelKind
from paceline.engines.model.presets import PRESETS
from paceline.sim.frontend import FrontendTime
from paceline.sim.run import RunConfig, simulate
from paceline.sim.summary import Spread, spread

PRESET = "llama-3.1-8b-a100"
SPEED = 0.25
"""A quarter as fast as it is: then some milliseconds of Python are well below 5% of a TTFT."""
KV_TOKENS = 16 * 2200
SEED = 8
CASES = {
    "steady": (Workload(32, 10, 2000, 200, 32, rate=1.25, limit=200), "lpm"),
    "backlog": (Workload(32, 3, 2000, 200, 32), "fcfs"),
}
"""What comes, and under which policy."""
NO_FRONTEND = FrontendTime(latency=0, token=0, request=0, burst=0)
PROMISE = 0.05
"""Relative difference of mean and percentiles of TTFT."""

Drive = Callable[[ModelKind, str, Sequence[Prompt]], Sequence[Result]]


class Agreement(Struct, frozen=True):
    """One run, twice."""

    engine: str
    case: str
    emulated: Spread
    """Seconds to the first token, and below."""
    simulated: Spread
    hit_rates: tuple[float, float]

    @property
    def worst(self) -> float:
        """The largest relative difference."""
        pairs: Iterable[tuple[float, float]] = zip(
            structs.astuple(self.emulated), structs.astuple(self.simulated), strict=True
        )
        return max(abs(made / simulated - 1) for made, simulated in pairs)


def prompts(workload: Workload) -> list[Prompt]:
    """What the client sends."""
    return [
        Prompt(session.at, turn.prompt.tolist(), turn.output_tokens)
        for session in sessions(workload, SEED)
        for turn in session.turns
    ]


def agreement(kind: ModelKind, case: str, drive: Drive) -> Agreement:
    """Play one of `CASES` with `drive` and in the simulator."""
    workload, policy = CASES[case]
    made = drive(kind, policy, prompts(workload))
    preset = PRESETS[PRESET]
    time = preset.vllm if kind == "vllm" else preset.sglang
    time = structs.replace(time, s=time.s / SPEED)
    engine = EngineConfig(kind=kind, time=time, kv_tokens=KV_TOKENS)
    config = RunConfig(policy=policy, engine=engine, frontend=NO_FRONTEND)
    rows = simulate(config, sessions(workload, SEED)).rows
    tokens = sum(row.prompt for row in rows)
    return Agreement(
        engine=kind,
        case=case,
        emulated=spread(result.first - result.arrived for result in made),
        simulated=spread((row.first or 0.0) - row.arrival for row in rows),
        hit_rates=(
            sum(result.cached_tokens for result in made) / tokens,
            sum(row.cached for row in rows) / tokens,
        ),
    )


def in_processes(kind: ModelKind, policy: str, wanted: Sequence[Prompt]) -> Sequence[Result]:
    """Through a proxy process to an emulator process."""
    options = ["--kind", kind, "--preset", PRESET, "--kv-tokens", str(KV_TOKENS)]
    options += ["--speed", str(SPEED)]
    with paceline("emulate", *options, port=free_port(), ready="/v1/models") as url:
        serve = ("serve", "--backend", url, "--policy", policy)
        with paceline(*serve, port=free_port(), ready="/ready") as proxy:
            return asyncio.run(send(proxy, "emulated", wanted))


def line(found: Agreement) -> str:
    """Emulated -> simulated."""
    simulated = structs.asdict(found.simulated)
    cells = [
        f"{name} {value:.3f} -> {simulated[name]:.3f}"
        for name, value in structs.asdict(found.emulated).items()
    ]
    hits = "hit {:.3f} -> {:.3f}".format(*found.hit_rates)
    return f"{found.engine:7} {found.case:8}{'  '.join([*cells, hits])}  worst {found.worst:.1%}"


@click.command()
@click.option("--engines", default="vllm,sglang", help="Dialects, comma separated.")
@click.option("--check", is_flag=True, help="Fail when one is further off than 5%.")
def main(engines: str, check: bool) -> None:
    """Play each in real time and in the simulator, and print seconds of TTFT."""
    kinds: list[ModelKind] = [kind for kind in ("vllm", "sglang") if kind in engines.split(",")]
    off = []
    for kind in kinds:
        for case in CASES:
            found = agreement(kind, case, in_processes)
            click.echo(line(found))
            if found.worst > PROMISE:
                off.append(f"{kind} {case}: {found.worst:.1%}")
    if check and off:
        raise click.ClickException(f"further off than {PROMISE:.0%}: {'; '.join(off)}")


if __name__ == "__main__":
    main()
