"""The vLLM model's cache finds what another simulator's LRU finds, block for block."""

from __future__ import annotations

import pytest

from bench.cache import blocks_of, compare
from bench.fidelity import DATA


@pytest.mark.parametrize("trace", ["conversation", "synthetic"])
@pytest.mark.parametrize("capacity", [600, 2000])
def test_hits_equal_to_another_simulator(trace: str, capacity: int) -> None:
    """The first 400 requests of Mooncake's traces, one after another, with little and more room."""
    hits = compare(blocks_of(DATA / "mooncake" / f"{trace}_400.jsonl.gz"), capacity)
    assert hits.ours == hits.theirs
    assert 0 < hits.ours < hits.asked


def test_a_cache_that_never_fills_is_no_comparison() -> None:
    """The other side gives no count for it."""
    with pytest.raises(ValueError, match="not full"):
        compare([[1, 2], [1, 3], [1, 2], [4]], 100)
