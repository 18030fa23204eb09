"""What a model's config.json says, under the names that Hugging Face's transformers gives it."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from paceline.plan.errors import PlanError

HALVED = frozenset({"float32", "float"})
"""Dtypes of checkpoints that both engines load as 16 bits unless told (`--dtype auto`)."""
ELEMENT_BYTES = 2
"""Bytes an element of weights and activations in 16 bits."""
TIED = frozenset({"gemma", "gemma2"})
"""Families that share input and output embeddings unless told; all others here do not."""


class Architecture(Struct, frozen=True, kw_only=True):
    """The fields of a config.json that memory and time depend on."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    vocab_size: int
    max_position_embeddings: int
    model_type: str = ""
    intermediate_size: int = 0
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    tie_word_embeddings: bool | None = None
    attention_bias: bool = False
    torch_dtype: str | None = None
    dtype: str | None = None
    """As transformers 5 calls `torch_dtype`."""
    sliding_window: int | None = None
    use_sliding_window: bool = True
    layer_types: list[str] | None = None
    quantization_config: dict[str, Any] | None = None
    kv_lora_rank: int | None = None
    """With multi-head latent attention (MLA): width of what is cached for keys and values."""
    q_lora_rank: int | None = None
    qk_nope_head_dim: int = 0
    qk_rope_head_dim: int = 0
    v_head_dim: int = 0
    num_experts: int | None = None
    num_local_experts: int | None = None
    n_routed_experts: int | None = None
    n_shared_experts: int | None = None
    num_experts_per_tok: int = 1
    moe_intermediate_size: int | None = None
    shared_expert_intermediate_size: int = 0
    first_k_dense_replace: int = 0
    decoder_sparse_step: int = 1
    mlp_only_layers: list[int] | None = None

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values; as many as of queries without grouping."""
        return self.num_key_value_heads or self.num_attention_heads

    @property
    def head(self) -> int:
        """Width of one attention head."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def halved(self) -> bool:
        """Whether the files hold twice the bytes that an engine keeps."""
        return (self.dtype or self.torch_dtype or "").removeprefix("torch.") in HALVED

    @property
    def tied(self) -> bool:
        """Whether the output layer is the input embedding."""
        if self.tie_word_embeddings is None:
            return self.model_type in TIED
        return self.tie_word_embeddings

    @property
    def experts(self) -> int:
        """Routed experts of a layer; 0 for a dense model."""
        return self.num_experts or self.num_local_experts or self.n_routed_experts or 0

    @property
    def windowed(self) -> bool:
        """Whether some layers attend to a sliding window only."""
        if self.layer_types is not None:
            return "sliding_attention" in self.layer_types
        return self.sliding_window is not None and self.use_sliding_window


_UNPLANNED = {
    "text_config": "a multimodal model, whose encoder and media are not planned for",
    "ssm_cfg": "a state-space model, which has no KV pool of this kind",
    "mamba_d_state": "a state-space model, which has no KV pool of this kind",
    "layers_block_type": "a hybrid of attention and state-space layers",
    "linear_num_key_heads": "a hybrid of full and linear attention",
    "index_topk": "a model with an index beside its KV (sparse attention)",
    "is_encoder_decoder": "an encoder-decoder model",
}
"""Keys of config.json whose models need memory that is not counted here."""


def architecture(data: bytes, source: str) -> Architecture:
    """What config.json says; PlanError for what is no language model that can be planned."""
    try:
        table = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"{source}: {error}") from None
    for key, what in _UNPLANNED.items():
        if table.get(key):
            raise PlanError(f"{source}: `{key}` says that it is {what}")
    try:
        found = msgspec.convert(table, Architecture)
    except msgspec.ValidationError as error:
        raise PlanError(f"{source}: {error}") from None
    if min(found.num_attention_heads, found.num_hidden_layers, found.kv_heads) < 1:
        raise PlanError(f"{source}: a model without layers or heads")
    return found
