"""Bad rows are named with file, line and reason, or counted."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from paceline.sim.rows import Rows, TraceError
from tests.sim.dialogue import rows


def test_a_bad_row_is_named(tmp_path: Path) -> None:
    """The error says where and what."""
    with pytest.raises(TraceError, match=r"trace:3: invalid literal for int.*x"):
        list(rows(tmp_path, "1", "", "x", "4").read(int))


def test_bad_rows_are_counted(tmp_path: Path) -> None:
    """With skip_bad the others are read."""
    reader = rows(tmp_path, "1", "x", "3", "y", skip_bad=True)
    assert (list(reader.read(int)), reader.skipped) == ([1, 3], 2)


def test_gzip(tmp_path: Path) -> None:
    """A name that ends in .gz is unpacked; one cut short is an error."""
    path = tmp_path / "trace.gz"
    whole = gzip.compress(b"1\n2\n")
    path.write_bytes(whole)
    assert list(Rows(path).read(int)) == [1, 2]
    path.write_bytes(whole[:-9])
    with pytest.raises(TraceError, match=r"trace\.gz: "):
        list(Rows(path).read(int))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The system's reason is given."""
    with pytest.raises(TraceError, match="No such file"):
        list(Rows(tmp_path / "none").read(int))
