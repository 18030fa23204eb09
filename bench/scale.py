"""What a run costs as it grows: Mooncake's hour again and again, each time with other prompts.

    python -m bench.scale --trace conversation_trace.jsonl.gz [--requests 10000,100000]

One process a size, so that its peak of memory is its own; requests are made as they are due.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import count, islice
from multiprocessing import get_context
from pathlib import Path
from time import process_time

import click
import msgspec

from paceline.engines.model.engine import EngineConfig
from paceline.sim.mooncake import BLOCK_TOKENS, Line, tokens
from paceline.sim.rows import Rows
from paceline.sim.run import NO_PROXY, RunConfig, simulate
from paceline.sim.summary import Slo, summarise
from paceline.sim.workload import Session, Turn, Workload, single

HOUR = 3600.0
"""Length of the trace in seconds."""
IDS = 1 << 20
"""More than the trace has different blocks."""
BACKENDS = 4


def hours(path: Path) -> Workload:
    """The trace without end; every hour has blocks of its own."""
    decode = msgspec.json.Decoder(Line).decode
    for hour in count():
        for number, line in enumerate(Rows(path).read(decode)):
            yield _session(f"{hour:03d}.{number:05d}", hour, line)


def _session(id: str, hour: int, line: Line) -> Session:
    blocks = [block + hour * IDS for block in line.hash_ids]
    turn = Turn(
        prompt=tokens(blocks, line.input_length, BLOCK_TOKENS), output_tokens=line.output_length
    )
    return single(id, turn, hour * HOUR + (line.timestamp or 0.0) / 1e3)


def measure(path: Path, requests: int, policy: str, block_size: int) -> str:
    """Run so many requests in this process; a line of the table."""
    engine = EngineConfig(block_size=block_size)
    config = RunConfig(policy=policy, backends=BACKENDS, engine=engine)
    begin = process_time()
    result = simulate(config, islice(hours(path), requests), sampled=False)
    summary = summarise(result.rows, Slo())
    seconds = process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    each = seconds / requests * 1e6
    return (
        f"| {requests:,} | {seconds:.1f} | {each:.0f} | {peak:.0f} "
        f"| {summary.hit_rate:.3f} | {summary.makespan_s:.0f} |"
    )


def lines(path: Path, sizes: list[int], policy: str, block_size: int) -> Iterator[str]:
    """The table, line by line as they come."""
    yield "| requests | CPU s | us a request | peak MiB | hit rate | makespan s |"
    yield "|---|---|---|---|---|---|"
    for size in sizes:
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            yield process.submit(measure, path, size, policy, block_size).result()


@click.command()
@click.option("--trace", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--requests", default="10000,100000,300000", show_default=True)
@click.option("--policy", default=NO_PROXY, show_default=True)
@click.option("--block-size", default=16, show_default=True)
def main(trace: Path, requests: str, policy: str, block_size: int) -> None:
    """Print CPU time and memory of runs of different sizes on four vLLM workers."""
    for line in lines(trace, [int(size) for size in requests.split(",")], policy, block_size):
        click.echo(line)


if __name__ == "__main__":
    main()
