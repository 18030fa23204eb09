"""A plan beside what its engines do: each at its limit, at its peak alone, and all at their peaks.

    paceline plan -c FILE --out deploy && sh deploy/engines.sh &
    python -m bench.gpu.planned -c FILE [--seconds 60] [--times 1]

Every engine of the plan must answer at its port. Prompts are token ids, each model's with its
planned lengths and shared start. `--times` multiplies the rates of the third part.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import click

from bench.load import Prompt, Result, send
from paceline.plan.forecast import REQUESTS, Forecast
from paceline.plan.plan import make_plan
from paceline.plan.settings import Settings
from paceline.plan.spec import ModelSpec, read_spec
from paceline.sim.table import aligned

Row = tuple[str, ...]
HEAD: Row = ("model", "run", "requests", "req/s", "TTFT mean s", "TPOT mean ms", "E2E mean s")


def prompts(spec: ModelSpec, count: int, rate: float | None, seed: int) -> list[Prompt]:
    """`count` prompts as planned, all at once or at `rate` a second."""
    rng = random.Random(seed)
    shared = [rng.randrange(32_000) for _ in range(spec.shared_tokens)]
    at, found = 0.0, []
    for _ in range(count):
        at += rng.expovariate(rate) if rate else 0.0
        own = [rng.randrange(32_000) for _ in range(spec.prompt_tokens - spec.shared_tokens)]
        found.append(Prompt(at, shared + own, spec.output_tokens))
    return found


def planned(spec: ModelSpec, forecast: Forecast) -> Row:
    """What the plan says, at the limit and at the peak."""
    return (
        spec.name, "planned", "", f"{forecast.capacity:.1f} limit, {forecast.rate:.2f} peak",
        f"{forecast.ttft_mean_s:.3f}", f"{1000 * forecast.tpot_mean_s:.1f}",
        f"{forecast.e2e_mean_s:.2f}",
    )  # fmt: skip


def measured(spec: ModelSpec, run: str, results: Sequence[Result]) -> Row:
    """The same figures of a run."""
    answers = [(each.last - each.first) / (spec.output_tokens - 1) for each in results]
    return (
        spec.name, run, str(len(results)),
        f"{len(results) / max(each.last for each in results):.2f}",
        f"{mean(each.first - each.arrived for each in results):.3f}",
        f"{1000 * mean(answers):.1f}",
        f"{mean(each.last - each.arrived for each in results):.2f}",
    )  # fmt: skip


async def compare(
    engines: Sequence[Settings], forecasts: Sequence[Forecast], seconds: float, times: float
) -> list[Row]:
    """All rows; the engines are warmed up first."""

    async def run(engine: Settings, name: str, count: int, rate: float | None) -> Row:
        spec = engine.demand.model.spec
        sent = prompts(spec, count, rate, seed=len(name))
        url = f"http://127.0.0.1:{spec.port}"
        return measured(spec, name, await send(url, spec.name, sent))

    rows = [HEAD]
    pairs = list(zip(engines, forecasts, strict=True))
    for engine, forecast in pairs:
        await run(engine, "warm-up", engine.max_running, None)
        rows.append(planned(engine.demand.model.spec, forecast))
        rows.append(await run(engine, "limit", REQUESTS, None))
        rows.append(await run(engine, "alone", max(8, int(forecast.rate * seconds)), forecast.rate))
    rates = [forecast.rate * times for forecast in forecasts]
    rows += await asyncio.gather(
        *(
            run(engine, f"together x{times:g}", max(8, int(rate * seconds)), rate)
            for engine, rate in zip(engines, rates, strict=True)
        )
    )
    return rows


@click.command()
@click.option("-c", "--config", "path", type=click.Path(path_type=Path), required=True)
@click.option("--seconds", default=60.0, help="Of each run at a rate.")
@click.option("--times", default=1.0, help="Of the peak, for the run with all engines.")
def main(path: Path, seconds: float, times: float) -> None:
    """Print the plan's figures beside the engines'."""
    plan = make_plan(read_spec(path), path.parent)
    click.echo(aligned(asyncio.run(compare(plan.engines, plan.forecasts, seconds, times))))


if __name__ == "__main__":
    main()
