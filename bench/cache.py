"""Hits of the vLLM model's cache against `kvcache-simulator`'s LRU on the same trace, by blocks.

    python -m bench.cache --trace conversation_trace.jsonl.gz --trace synthetic_trace.jsonl.gz

Requests are served one after another, as that simulator does; a block of the trace is a block of
the engine. Counted are the blocks that the second half of the requests found, which is all that
the other side tells.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import click
import msgspec
from kvcache_sim.plan import build_execution_plan
from kvcache_sim.policies import simulate_policy
from kvcache_sim.trace import parse_trace_lines
from msgspec import Struct

from paceline.engines.model.engine import EngineConfig, SequenceRequest
from paceline.engines.model.vllm import VllmEngine
from paceline.sim.mooncake import Line
from paceline.sim.rows import Rows

BLOCK = 16
"""Tokens in the engine's blocks; in the traces' they are 512, which changes nothing here."""
LAST = 1 << 31
"""Token at the end of every prompt, so that all of its blocks may be found."""


class Hits(Struct):
    """Blocks that were found."""

    ours: int
    theirs: int
    asked: int
    """Blocks of all prompts in the second half."""


def compare(requests: Sequence[list[int]], capacity: int) -> Hits:
    """Both caches with room for `capacity` blocks, which no prompt may exceed.

    ValueError when the cache is not full by the middle: the other side gives no count then.
    """
    rows = [{"hash_ids": ids, "input_length": len(ids), "block_size": 1} for ids in requests]
    plan = build_execution_plan(
        parse_trace_lines(msgspec.json.encode(row).decode() for row in rows)
    )
    theirs = simulate_policy(plan, "lru", capacity)
    if theirs.measurementMode != "fixed_window":
        raise ValueError(f"{capacity} blocks are not full by the middle of the trace")
    ours = served(requests, capacity)[len(requests) // 2 :]
    return Hits(sum(ours), theirs.hitTokens, theirs.totalTokens)


def served(requests: Sequence[list[int]], capacity: int) -> list[int]:
    """Blocks that each request found in a vLLM engine with one more block, for the last token."""
    longest = max(map(len, requests))
    config = EngineConfig(
        kv_tokens=(capacity + 1) * BLOCK, block_size=BLOCK, chunk_tokens=(longest + 1) * BLOCK
    )
    engine = VllmEngine(config)
    hits = [0]
    for number, ids in enumerate(requests):
        prompt = array("I", b"".join(array("I", [block]).tobytes() * BLOCK for block in ids))
        prompt.append(LAST)
        engine.add(SequenceRequest(id=str(number), prompt=prompt, output_tokens=1), 0.0)
        while engine.step(0.0) is not None:
            pass
        hits.append(engine.load().hit_tokens // BLOCK)
    return [after - before for before, after in pairwise(hits)]


def blocks_of(trace: Path) -> list[list[int]]:
    """Block ids of all its prompts."""
    return [line.hash_ids for line in Rows(trace).read(msgspec.json.Decoder(Line).decode)]


@click.command()
@click.option("--trace", "traces", type=click.Path(path_type=Path), multiple=True, required=True)
@click.option("--blocks", default="1000,4000,16000", show_default=True)
def main(traces: tuple[Path, ...], blocks: str) -> None:
    """Print the blocks that were found, and fail where they differ."""
    click.echo("| trace | blocks in the cache | found here | by kvcache-simulator | of |")
    click.echo("|---|---|---|---|---|")
    differ = False
    for trace in traces:
        requests = blocks_of(trace)
        for capacity in map(int, blocks.split(",")):
            hits = compare(requests, capacity)
            differ = differ or hits.ours != hits.theirs
            figures = f"{capacity:,} | {hits.ours:,} | {hits.theirs:,} | {hits.asked:,}"
            click.echo(f"| {trace.name} | {figures} |")
    if differ:
        raise click.ClickException("they differ")


if __name__ == "__main__":
    main()
