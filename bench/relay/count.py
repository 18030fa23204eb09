"""Counts the bytecodes that a request executes: the same each time, whatever the machine does."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from bench.relay import inside
from bench.relay.inside import Case, Stage

WARM = 20
COUNTED = 4
"""Rounds with each bytecode counted, a hundred times slower than without."""


async def bytecodes(case: Case) -> int:
    """How many a request executes in the proxy and in the Python below it; the bench's own not."""
    stage = Stage(case)
    for _ in range(WARM):
        await stage.round()
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        if frame.f_code.co_filename == inside.__file__:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    sys.settrace(trace)
    try:
        for _ in range(COUNTED):
            await stage.round()
    finally:
        sys.settrace(None)
    return round(count / COUNTED / case.together)
