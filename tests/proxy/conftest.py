"""What the tests of the proxy share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from paceline.proxy.telemetry.log import stderr


@pytest.fixture(autouse=True)
def _own_lines_only() -> Iterator[None]:
    """No log line of one test comes out in the next one."""
    yield
    assert stderr().drain(5.0)
