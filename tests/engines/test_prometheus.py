"""The targeted reader agrees with the library's parser."""

from __future__ import annotations

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from paceline.engines import prometheus
from tests.engines.replies import SGLANG, VLLM


@pytest.mark.parametrize("text", [VLLM["/metrics"], SGLANG["/metrics"]])
def test_every_sample_of_a_real_reply_is_read_alike(text: bytes) -> None:
    """Labels and finite values equal those of prometheus_client."""
    families = text_string_to_metric_families(text.decode())
    expected: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in families:
        for sample in family.samples:
            if math.isfinite(sample.value):
                expected.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    assert len(expected) > 50
    for name, found in expected.items():
        assert list(prometheus.samples(text, name)) == found


def test_the_first_line_is_read_too() -> None:
    """A reply need not begin with a comment, nor end with a new line."""
    assert prometheus.total(b"a 1\nb 2\na 3", "a") == 4


def test_a_missing_metric_is_none() -> None:
    """Zero and unknown are different."""
    assert prometheus.total(b"ab 1\n", "a") is None
    assert prometheus.total(b"a x\na\na{\n", "a") is None
