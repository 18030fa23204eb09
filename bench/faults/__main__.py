"""`python -m bench.faults [--storm N]`: the fault matrix, then N requests with random faults."""

from __future__ import annotations

import argparse
import asyncio
import sys

from bench.faults.cases import CASES, play
from bench.faults.storm import LEAVING, Outcome, storm
from bench.faults.table import HEAD, line


async def matrix(only: str) -> bool:
    """Print the table; whether nothing was left behind in any row."""
    print(HEAD)
    clean = True
    for case in CASES:
        if only in case.name:
            row = await play(case)
            print(line(row), flush=True)
            clean = clean and not row.leftovers
    return clean


def main() -> int:
    """The exit status: 0 when nothing was left behind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--storm", type=int, default=10_000, metavar="N", help="requests in it")
    parser.add_argument("--leaving", type=float, default=LEAVING, help="share of its clients")
    options = parser.parse_args()
    clean = asyncio.run(matrix(options.only))
    if options.storm:
        clean = report(asyncio.run(storm(options.storm, leaving=options.leaving))) and clean
    return 0 if clean else 1


def report(outcome: Outcome) -> bool:
    """Print what the storm was and did; whether all promises held."""
    print(f"\n{outcome.words.total()} requests, random faults, {outcome.disasters} disasters:\n")
    for word, count in outcome.words.most_common():
        print(f"- {count}x {word}")
    print(f"- retried: {outcome.retried}")
    print(f"- broken promises: {'; '.join(outcome.broken[:20]) or 'none'}")
    return not outcome.broken


if __name__ == "__main__":
    sys.exit(main())
