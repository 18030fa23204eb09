"""How many bytes of KV cache a token takes."""

from __future__ import annotations

from paceline.plan.architecture import ELEMENT_BYTES, Architecture

KV_BYTES = {"auto": ELEMENT_BYTES, "fp8": 1}
"""Bytes an element; `auto` is that of the weights in 16 bits, `fp8` what engines call fp8_e4m3."""


def kv_bytes(model: Architecture, dtype: str = "auto") -> int:
    """Bytes of KV that one token takes in all layers together.

    Keys and values of every KV head; with MLA one latent vector and one rotary key instead. Layers
    with a sliding window count in full: an upper bound.
    """
    element = KV_BYTES[dtype]
    if model.kv_lora_rank is not None:
        width = model.kv_lora_rank + model.qk_rope_head_dim
    else:
        width = 2 * model.kv_heads * model.head
    return model.num_hidden_layers * width * element
