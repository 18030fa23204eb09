"""What the tests of faults share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _structlog_restored() -> Iterator[None]:
    """A whole proxy configures the process's log."""
    yield
    structlog.reset_defaults()
