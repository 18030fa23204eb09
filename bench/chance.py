"""How far a burst's outcome hangs on the milliseconds in which its requests arrive.

    python -m bench.chance

Every burst of SGLang in the recorded runs is simulated again and again, its requests sent as they
were recorded but slower or faster, from 0.7 to 2 times. Prints the span of what comes out.
"""

from __future__ import annotations

from pathlib import Path

import click
from msgspec import structs

from bench.fidelity import DATA, Comparison, real_rows, sessions, simulated

PACES = tuple(0.7 + 0.065 * step for step in range(21))
HEAD = "| run | hit rate | makespan s | TTFT mean s |\n|---|---|---|---|"


def outcomes(path: Path) -> list[Comparison]:
    """The run at each pace; times count from the first request."""
    real = list(real_rows(path))
    name = path.name.partition(".csv")[0]
    made = []
    for pace in PACES:
        sent = (
            structs.replace(session, at=pace * (row.dispatched or 0.0))
            for session, row in zip(sessions(real, name), real, strict=True)
        )
        made.append(simulated(name, "sglang", None, real, sent))
    return made


def line(runs: list[Comparison]) -> str:
    """Real, and the least and the most that was simulated."""
    real = runs[0].real
    hits = [run.simulated.hit_rate for run in runs]
    cells = [f"{real.hit_rate:.3f} → {min(hits):.3f} to {max(hits):.3f}"]
    for measured, made in (
        (real.makespan_s, [run.simulated.makespan_s for run in runs]),
        (real.ttft_s.mean, [run.simulated.ttft_s.mean for run in runs]),
    ):
        span = f"{min(made) / measured - 1:+.1%} to {max(made) / measured - 1:+.1%}"
        cells.append(f"{measured:.3f} → {min(made):.3f} to {max(made):.3f} ({span})")
    return f"| {runs[0].name} | {' | '.join(cells)} |"


@click.command()
def main() -> None:
    """Simulate all and print the table."""
    click.echo(HEAD)
    for path in sorted(DATA.glob("sglang_*_all.csv*")):
        click.echo(line(outcomes(path)))


if __name__ == "__main__":
    main()
