"""Reads trace files row by row; a bad row is an error with file, line and reason, or counted."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class TraceError(Exception):
    """A trace cannot be read; the message is `file:line: reason`."""


class BadRow(ValueError):
    """One row makes no sense; the reader adds file and line."""


class Rows:
    """The lines of one file, `.gz` or not, read one at a time."""

    def __init__(self, path: Path, *, skip_bad: bool = False) -> None:
        self.path = path
        self.skipped = 0
        """Rows left out so far."""
        self._skip_bad = skip_bad

    def again(self) -> Rows:
        """Another reader of the same file, as strict as this one."""
        return Rows(self.path, skip_bad=self._skip_bad)

    def read(self, parse: Callable[[bytes], T], *, header: bool = False) -> Iterator[T]:
        """Every row that is not blank; TraceError for one that `parse` refuses with ValueError."""
        for number, line in self._lines():
            if not line.strip() or (header and number == 1):
                continue
            try:
                parsed = parse(line)
            except ValueError as error:
                if not self._skip_bad:
                    reason = " ".join(str(error).split())  # it may quote the row
                    raise TraceError(f"{self.path}:{number}: {reason}") from None
                self.skipped += 1
                continue
            yield parsed

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        try:
            with self._open() as file:
                yield from enumerate(file, 1)
        except (OSError, EOFError) as error:
            raise TraceError(f"{self.path}: {error}") from None

    def _open(self) -> io.BufferedIOBase:
        if self.path.suffix == ".gz":
            return gzip.open(self.path)
        return self.path.open("rb")
