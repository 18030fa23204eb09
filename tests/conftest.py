"""What all tests share: fixed examples for property tests, and a log that each finds as it was.

`HYPOTHESIS_PROFILE=explore pytest` draws new examples, twenty times as many where a test sets none;
the fixed ones are there so that a red gate has a cause in the change.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

settings.register_profile("gate", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))


@pytest.fixture(autouse=True)
def _log_restored() -> Iterator[None]:
    """A proxy that runs in this process configures its log; that ends with the test."""
    yield
    structlog.reset_defaults()
