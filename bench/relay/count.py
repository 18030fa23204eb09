"""What a request costs inside the process: bytecodes, and time in times a yardstick's."""

from __future__ import annotations

import email
import sys
import time
from types import FrameType
from typing import Any

from bench.relay import inside
from bench.relay.inside import Case, Stage

WARM = 20
COUNTED = 4
"""Rounds with each bytecode counted, a hundred times slower than without."""
TIMED = 40
"""Rounds, and yardsticks in between; the least time of each counts, which nobody disturbed."""
YARD = b"\n".join(b"X-Header-%d: value %d" % (n, n) for n in range(12)) + b"\n\nbody"


async def bytecodes(case: Case) -> int:
    """How many a request executes in the proxy and in the Python below it."""
    stage = await _warm(case)
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


async def yards(case: Case) -> float:
    """CPU time of a request, in times that of reading a mail's head with the standard library."""
    stage = await _warm(case)
    requests, mails = [], []
    for _ in range(TIMED):
        began = time.thread_time()
        await stage.round()
        requests.append((time.thread_time() - began) / case.together)
        began = time.thread_time()
        for _ in range(case.together):
            email.message_from_bytes(YARD)
        mails.append((time.thread_time() - began) / case.together)
    return min(requests) / min(mails)


async def _warm(case: Case) -> Stage:
    stage = Stage(case)
    for _ in range(WARM):
        await stage.round()
    return stage
