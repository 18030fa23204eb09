"""`paceline serve` in front of its two emulated engines, started once for all clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.served import served


@pytest.fixture(scope="session")
def base() -> Iterator[str]:
    """The proxy's address."""
    with served() as base:
        yield base
