"""Records the scheduler's events to a file, for `paceline sim --trace`; the loop never waits.

Events hold no text: a prompt is its block keys, which are hashes seeded anew in each process.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import msgspec
import structlog
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from paceline.scheduler.event_log import LoggedEvent
from paceline.scheduler.events import Action, Event

MOST_WAITING = 65_536
"""Events that may wait for the disk, about 1 kB each; what comes on top is dropped and counted."""
WRITE_SECONDS = 0.25
"""Pause of the writer: waking it for each event would cost the loop more than the event does."""
BATCH = 64
"""Events a write: to encode them holds the interpreter for 0.2 ms, which is what the loop feels."""
REPORT_SECONDS = 10.0
"""Least time between two complaints in the log."""
CLOSE_SECONDS = 5.0
"""Longest wait at the end for a disk that hangs."""


class CannotRecord(Exception):
    """The file cannot be written; the message is one line for the operator."""


class Recorder(Collector):
    """Appends to one file from a thread of its own; `close` when nothing more will come."""

    def __init__(self, path: Path, loop_time: float, most_waiting: int = MOST_WAITING) -> None:
        """`loop_time` is now on the clock of the events. Raises CannotRecord."""
        try:
            self._file = path.open("ab", buffering=0)  # appending, so `copytruncate` works
        except OSError as error:
            raise CannotRecord(f"cannot record to {path}: {error.strerror}") from None
        self.written = 0
        self.dropped = 0
        """Events that found the queue full or the disk unwilling."""
        self.path = path
        self._offset = time.time() - loop_time
        self._most_waiting = most_waiting
        self._waiting: deque[tuple[float, Event]] = deque()
        self._torn = False
        self._reported = 0
        self._report_at = 0.0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def note(self, event: Event, actions: list[Action], now: float) -> None:
        """Take one event down; a microsecond, whatever the disk does."""
        if len(self._waiting) >= self._most_waiting:
            self.dropped += 1
        else:
            self._waiting.append((now + self._offset, event))

    def close(self) -> None:
        """Write what waits and close the file, if the disk lets us in `CLOSE_SECONDS`."""
        self._closing.set()
        self._thread.join(CLOSE_SECONDS)
        log = structlog.get_logger()
        log.info("recorded", file=str(self.path), events=self.written, dropped=self.dropped)

    def describe(self) -> Iterator[Metric]:
        """Nothing: the names are this class's own."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """For `/metrics`."""
        written = CounterMetricFamily("paceline_recorded_events", "Events written to the record.")
        written.add_metric([], self.written)
        yield written
        dropped = CounterMetricFamily("paceline_dropped_events", "Events that the record lacks.")
        dropped.add_metric([], self.dropped)
        yield dropped

    def _run(self) -> None:
        with self._file:
            while not self._closing.wait(WRITE_SECONDS):
                self._drain()
            self._drain()

    def _drain(self) -> None:
        """Write all that waits."""
        why = "the queue was full"
        while self._waiting:
            batch = [
                self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))
            ]  # the loop only appends
            try:
                self._write(b"".join(_line(at, event) for at, event in batch))
                self.written += len(batch)
            except OSError as error:
                self.dropped += len(batch)
                why = str(error.strerror)
        if self.dropped > self._reported and time.monotonic() >= self._report_at:
            self._reported = self.dropped
            self._report_at = time.monotonic() + REPORT_SECONDS
            log = structlog.get_logger()
            log.warning("events not recorded", file=str(self.path), dropped=self.dropped, why=why)

    def _write(self, lines: bytes) -> None:
        """All of it, on lines of their own even after a write that failed halfway; OSError."""
        rest = memoryview(b"\n" + lines if self._torn else lines)
        self._torn = True
        while rest:
            rest = rest[self._file.write(rest) :]
        self._torn = False


def _line(at: float, event: Event) -> bytes:
    return _encode(LoggedEvent(at, event)) + b"\n"


_encode = msgspec.json.Encoder().encode
