"""`paceline calibrate`: fits the step-time formula to what a real engine did."""

from __future__ import annotations

from pathlib import Path

import click

from paceline.engines.model.engine import ModelKind
from paceline.engines.model.presets import PRESETS
from paceline.policies.decode import hint
from paceline.sim.calibrate import calibrate as fit
from paceline.sim.calibration import CalibrationError, write_calibration

EXISTING = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.option("--engine", type=click.Choice(["vllm", "sglang"]), required=True)
@click.option(
    "--from", "paths", metavar="FILE", type=EXISTING, multiple=True, required=True,
    help="Recorded rows, CSV; repeatable.",
)  # fmt: skip
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), required=True)
@click.option("--preset", metavar="NAME", default="llama-3.1-8b-h100", help="Where to start from.")
def calibrate(engine: ModelKind, paths: tuple[Path, ...], out: Path, preset: str) -> None:
    """Fit step times to recorded rows.

    The rows are of kind prefill, prefill_cached and decode (columns kind, batch, ctx, prompt, out,
    cached, sent, first, last) or itl (kind, batch, ctx, itl_ms). `paceline sim --calibration FILE`
    uses what is written.
    """
    if preset not in PRESETS:
        raise click.ClickException(f"no preset `{preset}`; {hint(preset, list(PRESETS))}")
    try:
        found = fit(engine, paths, PRESETS[preset])
        write_calibration(out, found)
    except CalibrationError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{out}: {error.strerror}") from None
    click.echo(f"{out}: {found.rows} measurements, median error {found.error:.1%}")
