"""Parameters and KV bytes against what is published."""

from __future__ import annotations

import pytest

from paceline.plan.kv import kv_bytes
from paceline.plan.parameters import parameters
from tests.plan.models import shape

PUBLISHED = {
    "TinyLlama-1.1B": 1_100_048_384,
    "Qwen2.5-3B": 3_085_938_688,
    "Yi-6B": 6_061_035_520,
    "Mistral-7B-v0.1": 7_241_732_096,
    "Llama-3.1-8B": 8_030_261_248,
    "DeepSeek-V2-Lite": 15_706_484_224,
    "Qwen3-30B-A3B": 30_532_122_624,
}
"""Sums over the tensors of the published safetensors files."""


@pytest.mark.parametrize(("name", "count"), PUBLISHED.items())
def test_parameters_are_the_published_ones(name: str, count: int) -> None:
    """Dense, tied, biased, mixture of experts and MLA: counted to the last one."""
    assert parameters(shape(name)) == count


def test_active_parameters() -> None:
    """A token passes through its experts only: 3.3 billion of Qwen3-30B-A3B's."""
    assert parameters(shape("Qwen3-30B-A3B"), active=True) == pytest.approx(3.35e9, rel=0.01)


def test_kv_bytes_a_token() -> None:
    """Grouped heads count once; MLA caches one latent vector and a rotary key a layer."""
    assert kv_bytes(shape("Llama-3.1-8B")) == 131_072
    assert kv_bytes(shape("TinyLlama-1.1B")) == 22 * 2 * 4 * 64 * 2
    assert kv_bytes(shape("Qwen2.5-3B")) == 36 * 2 * 2 * 128 * 2
    assert kv_bytes(shape("Yi-6B")) == 65_536
    assert kv_bytes(shape("Qwen3-30B-A3B")) == 48 * 2 * 4 * 128 * 2  # head_dim is not hidden/heads
    assert kv_bytes(shape("DeepSeek-V2-Lite")) == 27 * (512 + 64) * 2
    assert kv_bytes(shape("Llama-3.1-8B"), "fp8") == 65_536
