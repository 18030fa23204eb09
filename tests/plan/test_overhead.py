"""What engines take beside weights and KV, against a real run."""

from __future__ import annotations

from math import ceil

import pytest

from paceline.plan.gpu import CARDS
from paceline.plan.kv import kv_bytes
from paceline.plan.overhead import activations, chunk_tokens, graphs
from paceline.plan.parameters import parameters
from tests.plan.models import shape

RTX_4090 = 25_250_627_584
"""Bytes that CUDA shows of one."""


def test_a_real_pool() -> None:
    """vLLM 0.19 with Llama-3.1-8B at 0.9 of an RTX 4090, 256 requests: 41,408 tokens of KV."""
    model = shape("Llama-3.1-8B")
    taken = 2 * parameters(model) + activations(model, chunk_tokens("vllm", 24), 256)
    pool = (ceil(0.9 * RTX_4090) - taken) // kv_bytes(model)
    assert pool == pytest.approx(41_408, rel=0.01)
    assert CARDS["rtx-4090"].visible == pytest.approx(RTX_4090, rel=0.001)


def test_chunks_are_the_engines_own() -> None:
    """Steps grow with the card, as each engine's defaults do."""
    assert [chunk_tokens("vllm", gib) for gib in (24, 80, 192)] == [2048, 8192, 16384]
    assert [chunk_tokens("sglang", gib) for gib in (16, 24, 80, 192)] == [2048, 4096, 8192, 16384]


def test_graphs_grow_with_the_batch() -> None:
    """86 sizes up to 512 and 256 requests of vLLM; SGLang's reserve as its source computes it."""
    assert graphs("vllm", 2048, 256) / (21 << 20) == 51 + 35
    assert graphs("sglang", 4096, 48) >> 20 == 48 * 2 + 50 * 8 + 512
