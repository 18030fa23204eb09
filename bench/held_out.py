"""Simulated against real: runs that were recorded later and that nothing was chosen with.

    python -m bench.held_out

The direct runs of `bench.gpu.run` in bench/results/h100: their prompts are made again from its
seeds. Calibrated as `bench.fidelity` does it.
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from bench.fidelity import DATA, PRESET, Comparison, simulated, table
from bench.gpu.run import WORKLOADS
from bench.load import Prompt
from paceline.engines.model.engine import ModelKind
from paceline.sim.calibrate import calibrate
from paceline.sim.record import Row
from paceline.sim.workload import Session, Turn, single

RESULTS = Path(__file__).parent / "results" / "h100"
KINDS: tuple[ModelKind, ...] = ("vllm", "sglang")


def compare() -> Iterator[Comparison]:
    """Every direct run."""
    measured = [*DATA.glob("vllm_*_calib.*"), *DATA.glob("vllm_*_itl.*")]
    calibration = calibrate("vllm", sorted(measured), PRESET)
    for kind in KINDS:
        for workload, make in WORKLOADS.items():
            prompts = make()
            name = f"{kind}_{workload}_direct"
            real = list(_real(RESULTS / f"{name}.csv", prompts))
            found = calibration if kind == "vllm" else None
            yield simulated(name, kind, found, real, _sessions(prompts))


def _real(path: Path, prompts: Sequence[Prompt]) -> Iterator[Row]:
    with path.open(newline="") as file:
        for row, prompt in zip(csv.DictReader(file), prompts, strict=True):
            yield Row(
                id=row["i"],
                arrival=prompt.at,
                dispatched=prompt.at,
                first=float(row["first"]),
                last=float(row["last"]),
                prompt=int(row["prompt"]),
                out=prompt.output_tokens,
                cached=int(row["cached"]),
            )


def _sessions(prompts: Sequence[Prompt]) -> Iterator[Session]:
    for number, prompt in enumerate(prompts):
        assert not isinstance(prompt.prompt, str)
        out = prompt.output_tokens
        turn = Turn(prompt=array("I", prompt.prompt), output_tokens=out, max_tokens=out)
        yield single(str(number), turn, prompt.at)


@click.command()
def main() -> None:
    """Simulate every run and print the table."""
    click.echo(table(list(compare())))


if __name__ == "__main__":
    main()
