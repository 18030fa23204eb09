"""How many parameters a model has, counted from its architecture."""

from __future__ import annotations

from paceline.plan.architecture import Architecture

COUNTED = frozenset({
    "llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen2_moe", "qwen3_moe", "gemma", "phi3",
    "deepseek_v2", "deepseek_v3",
})  # fmt: skip
"""Families with gated MLPs and the attention below, whose count is right; tests hold seven of them
against the published number."""


def parameters(model: Architecture, *, active: bool = False) -> int:
    """All parameters, or only those that one token passes through."""
    embeddings = model.vocab_size * model.hidden_size * (1 if model.tied else 2)
    layers = sum(_layer(model, index, active) for index in range(model.num_hidden_layers))
    return embeddings + layers + model.hidden_size


def _layer(model: Architecture, index: int, active: bool) -> int:
    norms = 2 * model.hidden_size
    return _attention(model) + norms + _feed_forward(model, index, active)


def _attention(model: Architecture) -> int:
    if model.kv_lora_rank is not None:
        return _latent_attention(model, model.kv_lora_rank)
    queries, keys = model.num_attention_heads * model.head, model.kv_heads * model.head
    weights = 2 * model.hidden_size * (queries + keys)
    biased = model.attention_bias or model.model_type in ("qwen2", "qwen2_moe")
    bias = queries + 2 * keys if biased else 0
    norms = 2 * model.head if model.model_type in ("qwen3", "qwen3_moe") else 0
    return weights + bias + norms


def _latent_attention(model: Architecture, rank: int) -> int:
    """Of DeepSeek-V2 and V3: keys and values are projected down and up again."""
    hidden, heads = model.hidden_size, model.num_attention_heads
    queries = heads * (model.qk_nope_head_dim + model.qk_rope_head_dim)
    low = model.q_lora_rank
    query = hidden * queries if low is None else hidden * low + low + low * queries
    down = hidden * (rank + model.qk_rope_head_dim) + rank
    up = rank * heads * (model.qk_nope_head_dim + model.v_head_dim)
    return query + down + up + heads * model.v_head_dim * hidden


def _feed_forward(model: Architecture, index: int, active: bool) -> int:
    gated = 3 * model.hidden_size
    if not model.experts or index < model.first_k_dense_replace:
        return gated * model.intermediate_size
    width = model.moe_intermediate_size or model.intermediate_size
    experts = model.num_experts_per_tok if active else model.experts
    shared = gated * width * (model.n_shared_experts or 0)
    if model.shared_expert_intermediate_size:  # Qwen2-MoE: with a gate of its own
        shared += gated * model.shared_expert_intermediate_size + model.hidden_size
    bias = model.experts if model.model_type == "deepseek_v3" else 0
    return gated * width * experts + shared + model.hidden_size * model.experts + bias
