"""What an engine takes beside weights and KV: context, activations, CUDA graphs, workspaces."""

from __future__ import annotations

from paceline.engines.model.engine import ModelKind
from paceline.plan.architecture import ELEMENT_BYTES, Architecture
from paceline.plan.gpu import GIB

MIB = 1 << 20
CONTEXT = GIB // 2
"""The CUDA context of one process with its libraries' kernels, which no engine counts in its
fraction. An allowance: PyTorch processes take 0.3 to 0.6 GiB, depending on card and driver."""
WORKSPACE = GIB // 5
"""cuBLAS and attention workspaces, outside PyTorch's allocator: `non_torch_memory takes 0.20GiB` on
an RTX 4090 (vLLM #14447)."""
LOGIT_BYTES = 31
"""Bytes that sampling takes for each token of the vocabulary and each request: logits in bf16 and
fp32, sorted with 64-bit indices, probabilities, their sum. Fitted to vLLM 0.19 with Llama-3.1-8B on
an RTX 4090 (gpu-memory-utilization 0.9, 256 requests: 41,408 tokens of KV)."""
VLLM_GRAPH = 21 * MIB
"""A captured CUDA graph of vLLM: 0.36 GiB for 16 (0.27, a 2-way split 27B), 1.62 GiB for 86 (vLLM
#39559). Small models take less."""
SGLANG_DECODE = 2 * MIB
"""SGLang's own reserve for each request of its largest decode graph (0.5.23, memory_hook.py)."""
SGLANG_PREFILL = 8 * MIB
"""The same for each captured prefill size."""
SGLANG_METADATA = 512 * MIB
"""The same for constant metadata and slack of activations."""


def chunk_tokens(kind: ModelKind, memory_gib: float) -> int:
    """Prefill tokens of a step that each engine chooses for a card of this size.

    vLLM 0.32 (arg_utils.py, an API server) and SGLang 0.5.23 (memory_hook.py).
    """
    if kind == "vllm":
        return 16384 if memory_gib >= 160 else 8192 if memory_gib >= 70 else 2048
    limits = {20: 2048, 60: 4096, 160: 8192}
    return next((chunk for below, chunk in limits.items() if memory_gib < below), 16384)


def activations(model: Architecture, chunk: int, requests: int) -> int:
    """Bytes at the peak of a step: its widest MLP, or sampling, whichever is more."""
    width = model.intermediate_size or (model.moe_intermediate_size or 0)
    layer = chunk * (3 * width + 3 * model.hidden_size) * ELEMENT_BYTES
    hidden = chunk * model.hidden_size * ELEMENT_BYTES
    sampling = hidden + requests * model.vocab_size * LOGIT_BYTES
    return max(layer, sampling) + WORKSPACE


def graphs(kind: ModelKind, chunk: int, requests: int) -> int:
    """Bytes of CUDA graphs for up to `requests` requests in a decode step."""
    if kind == "vllm":
        return (_sizes(min(2 * requests, 512)) + _sizes(requests)) * VLLM_GRAPH
    return requests * SGLANG_DECODE + _prefill_sizes(chunk) * SGLANG_PREFILL + SGLANG_METADATA


def _sizes(largest: int) -> int:
    """Batch sizes that vLLM captures: 1, 2, 4, then every 8th up to 256, then every 16th."""
    small = sum(size <= largest for size in (1, 2, 4))
    return small + min(largest, 256) // 8 + max(0, largest - 256) // 16


def _prefill_sizes(chunk: int) -> int:
    """Prefill sizes that SGLang captures, 50 up to 4096 tokens (cuda_graph_hook.py)."""
    steps = ((4, 33, 4), (48, 257, 16), (288, 513, 32), (576, 1025, 64), (1280, 4097, 256))
    sizes = [size for step in steps for size in range(*step)]
    return sum(size <= chunk for size in [*sizes, *range(4608, chunk + 1, 512)])
