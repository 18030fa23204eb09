"""The simulator agrees with recorded runs of real engines after calibration on other data."""

from __future__ import annotations

import pytest

from bench import ground_truth
from bench.fidelity import DATA, GROUND_TRUTH, Comparison, compare, failures, table

RUNS = [
    "sglang_fcfs_llama8b_open_a",
    "sglang_fcfs_llama8b_order_fit_grouped_all",
    "sglang_fcfs_llama8b_order_fit_shuffled_all",
    "vllm_llama8b_open_a",
    "vllm_llama8b_open_c",
    "vllm_llama8b_order_fit_shuffled_all",
    "vllm_llama8b_order_many_grouped_all",
    "vllm_llama8b_order_many_shuffled_all",
]
KNOWN = ["sglang_fcfs_llama8b_order_fit_grouped_all: makespan"]
"""6% off, of a span of 17% that hangs on milliseconds: see docs/simulator.md."""


@pytest.fixture(scope="module")
def comparisons() -> dict[str, Comparison]:
    """Every recorded run by its name."""
    return {comparison.name: comparison for comparison in compare(DATA)}


@pytest.mark.parametrize("name", RUNS)
def test_run(comparisons: dict[str, Comparison], name: str) -> None:
    """Hit rate, makespan, TTFT and E2E are as near as promised, but for what is known."""
    assert [line for line in failures(comparisons[name]) if line not in KNOWN] == []


def test_every_run_is_in_the_table(comparisons: dict[str, Comparison]) -> None:
    """The table has a line a run, and this test knows them all."""
    assert sorted(comparisons) == RUNS
    assert table(list(comparisons.values())).count("\n") == len(RUNS) + 1


def test_ground_truth() -> None:
    """vLLM 0.19 on two more GPUs: TTFT, TPOT and E2E within 4% at mean, p50, p90 and p99."""
    truths = list(ground_truth.ground_truth(DATA / GROUND_TRUTH))
    assert [truth.name for truth in truths] == ["rtxpro6000_llama31_8b", "rtx4090_llama31_8b"]
    assert [line for truth in truths for line in ground_truth.failures(truth)] == []
