"""Counts the bytecodes that a request executes: the same each time, whatever the machine does.

`python -m bench.relay.count [CASE]` tells them by module, most first.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from types import FrameType
from typing import Any

import uvloop

from bench.relay import inside
from bench.relay.inside import CASES, Case, Stage

WARM = 20
COUNTED = 4
"""Rounds with each bytecode counted, a hundred times slower than without."""
OWN = (inside.__file__, random.__file__)
"""The bench itself."""


async def by_module(case: Case) -> Counter[str]:
    """How many a request executes in each file of the proxy and of the Python below it."""
    stage = Stage(case)
    for _ in range(WARM):
        await stage.round()
    count: Counter[str] = Counter()

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        if name in OWN:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count[name] += event == "opcode"
        return trace

    sys.settrace(trace)
    try:
        for _ in range(COUNTED):
            await stage.round()
    finally:
        sys.settrace(None)
    requests = COUNTED * case.together
    return Counter({name: round(number / requests) for name, number in count.items()})


async def bytecodes(case: Case) -> int:
    """How many a request executes in all."""
    return (await by_module(case)).total()


def main() -> None:
    """Print the table of one case."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else "json32"
    case = next(case for case in CASES if case.name == wanted)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        count = runner.run(by_module(case))
    for name, number in count.most_common():
        print(f"{number:6} {name.rpartition('/paceline/')[2]}")
    print(f"{count.total():6} all")


if __name__ == "__main__":
    main()
