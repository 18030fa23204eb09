"""`python -m bench.soak [--minutes 30] [--load 0.7]`: mixed traffic and faults for a long time.

The proxy runs as a process of its own before three slow emulated engines. What they can carry is
measured first. The exit status is 0 when memory is flat, nothing is left behind and nobody saw a
failure but those that were played.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.soak.proxy import Sample
from bench.soak.run import Plan, Soak, soak
from bench.soak.verdict import GROWTH, growth, unflat

ROWS = 10
HEAD = (
    "| minute | RSS | CPU | open files | sockets | waiting | in flight | trie nodes | blocks |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--load", type=float, default=0.7, help="part of the capacity")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    found = asyncio.run(soak(Plan(seconds=options.minutes * 60.0, load=options.load)))
    if options.out is not None:
        options.out.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    return 0 if report(found) else 1


def report(found: Soak) -> bool:
    """Print it; whether all held."""
    total, load = sum(found.seen.values()), found.rate / found.capacity
    print(f"{total} requests, {found.rate:.1f}/s, {load:.0%} of {found.capacity:.1f}/s")
    print(f"of them {_counts(found.kinds)}; {found.disasters} disasters, {found.reloads} reloads\n")
    print(HEAD)
    print("\n".join(map(_line, [found.before, *_spread(found.samples), found.after])))
    print(f"\nclients saw: {_counts(found.seen)}")
    print(f"answered in {found.p50:.2f} s (p50), {found.p99:.2f} s (p99)")
    print(f"the proxy's log: {_counts(found.complaints) or 'nothing'}")
    memory = [(sample.at, sample.rss_mb) for sample in found.samples]
    print(f"memory over the second half: {growth(memory):+.1%} (at most {GROWTH:.0%})")
    broken = [*found.broken, *unflat(memory)]
    print(f"broken promises: {'; '.join(broken[:20]) or 'none'}")
    return not broken


def _spread(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Some of them, at equal distances; the last one too."""
    step = max(1, len(samples) // ROWS)
    return samples[::-1][::step][::-1]


def _line(sample: Sample) -> str:
    return (
        f"| {sample.at / 60:.1f} | {sample.rss_mb:.1f} MB | {sample.cpu_seconds:.0f} s"
        f" | {sample.files} | {sample.sockets} | {sample.waiting} | {sample.in_flight}"
        f" | {sample.trie_nodes} | {sample.trie_blocks} |"
    )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count}x {word}" for word, count in counts.items())


if __name__ == "__main__":
    sys.exit(main())
