"""Writes log lines on a thread of its own: a consumer that stalls must not stop the proxy."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

PERIOD_SECONDS = 0.05
"""Lines are collected for so long: a wake-up and a system call cost more than a line."""
MOST_BYTES = 8 * 2**20
"""Text kept for a consumer that stalls, about 30,000 lines; what comes then is dropped."""


class Lines:
    """A bounded buffer in front of a file; never blocks and never raises for its writers."""

    def __init__(
        self,
        file: Callable[[], TextIO],
        tell: Callable[[int], str],
        most: int = MOST_BYTES,
        period: float = PERIOD_SECONDS,
    ) -> None:
        """`tell` words the line that stands for so many dropped ones."""
        self.dropped = 0
        """Lines that were not written, since the start."""
        self._file = file
        self._tell = tell
        self._most = most
        self._period = period
        self._lines: deque[str] = deque()
        self._size = 0
        self._untold = 0
        self._lock = threading.Lock()
        self._some = threading.Event()
        self._empty = threading.Event()
        self._empty.set()
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> None:
        """Have one line written soon, or drop it."""
        with self._lock:
            size = self._size + len(text)
            if size > self._most:
                self.dropped += 1
                self._untold += 1
                return
            self._size = size
            if not self._lines:
                self._wake()
            self._lines.append(text)

    def flush(self) -> None:
        """Nothing: whoever writes a line does not wait for it."""

    def drain(self, seconds: float) -> bool:
        """Wait until all is written, at most so long; whether it is."""
        return self._empty.wait(seconds)

    def _wake(self) -> None:
        self._empty.clear()
        self._some.set()
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            self._some.wait()
            time.sleep(self._period)
            while text := self._take():
                self._put(text)

    def _take(self) -> str:
        """All that is there; if nothing is, whoever drains may go on."""
        with self._lock:
            text = "".join(self._lines)
            self._lines.clear()
            if self._untold:
                text += self._tell(self._untold)
                self._untold = 0
            if not text:
                self._some.clear()
                self._empty.set()
            return text

    def _put(self, text: str) -> None:
        """Write to the file, for as long as that takes; a consumer that is gone loses lines."""
        try:
            _write(self._file(), text)
        except (OSError, ValueError):
            self.dropped += text.count("\n")
        with self._lock:
            self._size = sum(map(len, self._lines))


def _write(file: TextIO, text: str) -> None:
    """Past the file's buffer, whose lock would hold up everybody else, and the process's end."""
    try:
        number = file.fileno()
    except OSError:  # it is no file of the system's
        file.write(text)
        return
    data = memoryview(text.encode("utf-8", "backslashreplace"))
    while data:
        data = data[os.write(number, data) :]
