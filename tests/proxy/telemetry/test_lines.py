"""Log lines come out in order, and a consumer that stalls costs lines and nothing else."""

from __future__ import annotations

import io
import os
import threading
import time
from typing import TextIO, cast

from paceline.proxy.telemetry.lines import Lines


def tell(count: int) -> str:
    return f"{count} dropped\n"


class Stalled(io.StringIO):
    """A consumer that takes nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        self.goes_on = threading.Event()

    def write(self, text: str) -> int:
        self.asked.set()
        self.goes_on.wait(5.0)
        return super().write(text)


def test_lines_come_out_in_order() -> None:
    """Whatever was written is there after a drain, through a real pipe."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as file:
        lines = Lines(lambda: file, tell, period=0.0)
        for i in range(100):
            lines.write(f"{i}\n")
        assert lines.drain(5.0)
    with os.fdopen(reading) as got:
        assert got.read() == "".join(f"{i}\n" for i in range(100))
    assert lines.dropped == 0


def test_a_stalled_consumer_does_not_block() -> None:
    """What does not fit is dropped and counted, and told of once it reads again."""
    stalled = Stalled()
    lines = Lines(lambda: stalled, tell, most=10, period=0.0)
    lines.write("first\n")
    assert stalled.asked.wait(5.0)
    began = time.monotonic()
    for _ in range(1000):
        lines.write("more\n")
    assert time.monotonic() - began < 1.0
    assert lines.dropped == 1000
    assert not lines.drain(0.0)
    stalled.goes_on.set()
    assert lines.drain(5.0)
    assert stalled.getvalue() == "first\n1000 dropped\n"
    lines.write("last\n")
    assert lines.drain(5.0)
    assert stalled.getvalue().endswith("last\n")


def test_a_full_pipe_does_not_block() -> None:
    """Its reader is there and reads nothing: 64 KiB fit in, the rest waits or is dropped."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as file, os.fdopen(reading):
        lines = Lines(lambda: file, tell, most=200_000, period=0.0)
        for _ in range(10_000):
            lines.write("x" * 99 + "\n")
        assert lines.dropped >= 10_000 - (200_000 + 2 * 65_536) // 100


def test_a_consumer_that_is_gone_is_no_error() -> None:
    """Its lines are counted as dropped."""
    reading, writing = os.pipe()
    os.close(reading)
    file = os.fdopen(writing, "w")
    lines = Lines(lambda: file, tell, period=0.0)
    lines.write("one\n")
    assert lines.drain(5.0)
    assert lines.dropped == 1
    file.close()


def test_a_closed_file_is_no_error() -> None:
    """Not even one that is no file of the system's."""
    file = io.StringIO()
    file.close()
    lines = Lines(lambda: cast(TextIO, file), tell, period=0.0)
    lines.write("one\n")
    assert lines.drain(5.0)
    assert lines.dropped == 1
