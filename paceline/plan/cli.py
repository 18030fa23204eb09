"""`paceline plan`: which settings engines need, so that models fit a GPU and serve a load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from paceline.plan.errors import PlanError
from paceline.plan.files import write, write_engines
from paceline.plan.gpu import CARDS
from paceline.plan.output import as_json, as_text
from paceline.plan.plan import make_plan
from paceline.plan.spec import MOST_FREE, GpuSpec, LoadSpec, ModelSpec, PlanSpec, checked, read_spec

FILE = click.Path(path_type=Path)
POSITIVE = click.FloatRange(0, min_open=True)
COUNT = click.IntRange(1)
MODEL = (
    "engine", "prompt_tokens", "shared_tokens", "output_tokens", "max_model_len", "max_running",
    "kv_dtype", "weights_gib", "preset", "port",
)  # fmt: skip
GPU = ("memory_gib", "bandwidth_gb_s", "tflops", "free")
LOAD = ("requests_per_day", "peak")


@click.command()
@click.argument("model", required=False)
@click.option("-c", "--config", "path", metavar="FILE", type=FILE, help="TOML: several models.")
@click.option("--gpu", "card", metavar="NAME", help=f"One of {', '.join(CARDS)}.")
@click.option("--gpu-memory", "memory_gib", metavar="GIB", type=POSITIVE, help="As it is named.")
@click.option("--bandwidth", "bandwidth_gb_s", metavar="GB/S", type=POSITIVE, help="Its memory's.")
@click.option("--tflops", metavar="N", type=POSITIVE, help="Dense, in bf16.")
@click.option(
    "--free",
    metavar="PART",
    type=click.FloatRange(0, MOST_FREE),
    help="Left free.  [default: 0.1]",
)
@click.option("--requests-per-day", metavar="N", type=POSITIVE, help="Expected.  [default: 10000]")
@click.option("--peak", metavar="FACTOR", type=POSITIVE, help="Busiest hour.  [default: 3]")
@click.option("--engine", type=click.Choice(["vllm", "sglang"]), help="[default: vllm]")
@click.option("--prompt-tokens", metavar="N", type=COUNT, help="Mean.  [default: 1000]")
@click.option("--shared-tokens", metavar="N", type=click.IntRange(0), help="That all begin with.")
@click.option("--output-tokens", metavar="N", type=COUNT, help="Mean.  [default: 200]")
@click.option("--max-model-len", metavar="N", type=COUNT, help="[default: the model's]")
@click.option("--max-running", metavar="N", type=COUNT, help="At once.  [default: by the load]")
@click.option("--kv-dtype", type=click.Choice(["auto", "fp8"]), help="[default: auto]")
@click.option("--weights-gib", metavar="GIB", type=POSITIVE, help="[default: by files or config]")
@click.option("--preset", metavar="NAME", help="Step times of the simulator.  [default: scaled]")
@click.option("--port", metavar="N", type=click.IntRange(1, 65535), help="[default: 8001]")
@click.option("--out", metavar="DIR", type=FILE, help="Write paceline.toml and engines.sh there.")
@click.option("--up", "engines", metavar="FILE", type=FILE, help="Write it for `paceline up`.")
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object and nothing else.")
def plan(
    model: str | None,
    path: Path | None,
    out: Path | None,
    engines: Path | None,
    as_object: bool,
    **given: Any,
) -> None:
    """Plan engine settings for a GPU and a load.

    MODEL is a config.json, a folder with one, or a name on the Hub. Several models on one GPU are
    planned with -c FILE, which takes everything from there.

    \b
      paceline plan ./Llama-3.1-8B --gpu h100 --requests-per-day 200000
      paceline plan -c plan.toml --out deploy
      paceline plan -c plan.toml --up up.toml && paceline up -c up.toml
    """
    try:
        spec, base = _spec(model, path, given)
        made = make_plan(spec, base)
        click.echo(as_json(made) if as_object else as_text(made))
        if out is not None:
            written = ", ".join(map(str, write(made, out)))
            click.echo(f"written: {written}", err=True)
        if engines is not None:
            click.echo(f"written: {write_engines(made, engines)}", err=True)
    except PlanError as error:
        raise click.ClickException(str(error)) from None


def _spec(model: str | None, path: Path | None, given: dict[str, Any]) -> tuple[PlanSpec, Path]:
    """What is asked for, and the folder that its paths are relative to."""
    told = {name: value for name, value in given.items() if value is not None}
    if path is not None:
        if model is not None or told:
            raise click.UsageError("-c FILE takes no model and no settings beside it")
        return read_spec(path), path.parent
    if model is None:
        raise click.UsageError("either MODEL or -c FILE is needed")
    spec = PlanSpec(
        models=[ModelSpec(model=model, **_of(told, MODEL))],
        gpu=GpuSpec(name=told.get("card", ""), **_of(told, GPU)),
        load=LoadSpec(**_of(told, LOAD)),
    )
    return checked(spec), Path()


def _of(told: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: told[name] for name in names if name in told}
