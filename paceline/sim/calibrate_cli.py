"""`paceline calibrate`: fits the step-time formula to a live engine, or to what one did."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click

from paceline.engines.measure.client import CannotMeasure
from paceline.engines.measure.run import Progress, measure
from paceline.engines.model.engine import ModelKind
from paceline.engines.model.presets import PRESETS, Preset
from paceline.policies.decode import hint
from paceline.sim.calibrate import CHUNK, calibrated
from paceline.sim.calibration import Calibration, CalibrationError, write_calibration
from paceline.sim.measurements import read_measurements

EXISTING = click.Path(path_type=Path, exists=True, dir_okay=False)
FIT_SECONDS = 5.0
"""What is left for the fit of the two minutes that it all may take."""
LONGEST = 120.0 - FIT_SECONDS


@click.command()
@click.option("--backend", "url", metavar="URL", help="A live engine that serves nobody else.")
@click.option("--engine", type=click.Choice(["vllm", "sglang"]), help="Whose rows --from names.")
@click.option(
    "--from", "paths", metavar="FILE", type=EXISTING, multiple=True,
    help="Recorded rows instead, CSV; repeatable.",
)  # fmt: skip
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), required=True)
@click.option("--preset", metavar="NAME", default="llama-3.1-8b-h100", help="Where to start from.")
@click.option(
    "--max-batched-tokens", "chunk", metavar="N", type=click.IntRange(1),
    help=f"The engine's prefill tokens a step.  [default: what it tells, or {CHUNK}]",
)  # fmt: skip
@click.option(
    "--seconds", metavar="S", type=click.FloatRange(1, LONGEST), default=90.0,
    help="Longest time to measure a live engine.",
)  # fmt: skip
def calibrate(
    url: str | None,
    engine: ModelKind | None,
    paths: tuple[Path, ...],
    out: Path,
    preset: str,
    chunk: int | None,
    seconds: float,
) -> None:
    """Fit step times to a live engine, or to recorded rows of one.

    With --backend, prompts of random tokens are sent for up to --seconds: alone, cached, in bursts,
    and batches that decode: on their own, on a shared prefix, and beside another prefill. With
    --from, the rows are of kind prefill, prefill_cached and decode (columns kind, batch, ctx,
    prompt, out, cached, sent, first, last) or itl (kind, batch, ctx, itl_ms). `paceline sim
    --calibration FILE` uses what is written.
    """
    if preset not in PRESETS:
        raise click.ClickException(f"no preset `{preset}`; {hint(preset, list(PRESETS))}")
    if (url is None) == (not paths):
        raise click.UsageError("either --backend URL or --from FILE is needed")
    if not out.absolute().parent.is_dir():
        raise click.ClickException(f"{out}: No such file or directory")
    try:
        if url is not None:
            found = _from_engine(url, engine, PRESETS[preset], chunk, seconds)
        else:
            found = _from_files(paths, engine, PRESETS[preset], chunk)
        write_calibration(out, found)
    except (CalibrationError, CannotMeasure) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{out}: {error.strerror}") from None
    errors = ", ".join(f"{what} {error:+.1%}" for what, error in found.errors.items())
    click.echo(f"{out}: {found.rows} measurements, median error {found.error:.1%} ({errors})")


def _from_files(
    paths: tuple[Path, ...], engine: ModelKind | None, preset: Preset, chunk: int | None
) -> Calibration:
    if engine is None:
        raise click.UsageError("--from needs --engine")
    return calibrated(engine, read_measurements(paths), preset, chunk or CHUNK)


def _from_engine(
    url: str, engine: ModelKind | None, preset: Preset, chunk: int | None, seconds: float
) -> Calibration:
    with ExitStack() as stack:
        measured = measure(url, seconds, _bar(stack))
    kind = measured.engine.kind
    if kind == "openai" or engine not in (None, kind):
        raise click.ClickException(f"{url} is {kind}, not {engine}")
    for why, count in measured.left_out.items():
        click.echo(f"{count} points left out: {why}", err=True)
    said = measured.engine
    return calibrated(
        kind, measured.measurements, preset, chunk or said.chunk_tokens or CHUNK, said.attention
    )


def _bar(stack: ExitStack) -> Callable[[int], Progress]:
    """A progress bar on stderr where that is a terminal; it ends with `stack`."""

    def begin(points: int) -> Progress:
        if not sys.stderr.isatty():
            return lambda: None
        bar = stack.enter_context(
            click.progressbar(length=points, label="measuring", file=sys.stderr)
        )
        return lambda: bar.update(1)

    return begin
