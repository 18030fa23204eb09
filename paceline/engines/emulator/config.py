"""What an emulated engine is: dialect, hardware, launch options and how fast it plays."""

from __future__ import annotations

from msgspec import Struct

from paceline.engines.model.engine import EngineConfig, EnginePolicy, ModelKind
from paceline.engines.model.presets import PRESETS

CONTEXT_TOKENS = 131_072
"""Llama 3.1's context."""


class EmulatorConfig(Struct, frozen=True, kw_only=True):
    """Settings of one emulator; each that is None takes the engine's own default."""

    kind: ModelKind = "vllm"
    """Which engine's scheduler and HTTP dialect."""
    models: tuple[str, ...] = ("emulated",)
    """Model names that it serves, the first one first."""
    preset: str = "llama-3.1-8b-h100"
    """Hardware and model, a key of `paceline.engines.model.presets.PRESETS`."""
    speed: float = 1.0
    """Modelled seconds per real second: 10 plays ten times faster than the hardware."""
    kv_tokens: int | None = None
    """KV pool in tokens; None takes the preset's."""
    context_tokens: int | None = None
    """Longest prompt and answer together; None takes 131,072, or the pool where that is smaller."""
    chunk_tokens: int = 8192
    """`--max-num-batched-tokens` or `--chunked-prefill-size`."""
    max_running: int | None = None
    """`--max-num-seqs` (default 1024) or `--max-running-requests` (default 2048)."""
    block_size: int | None = None
    """Tokens in a block (vLLM, default 16) or page (SGLang, default 1)."""
    policy: EnginePolicy = "fcfs"
    """vLLM: fcfs or priority. SGLang: fcfs, lpm, dfs-weight, hrrn or random."""
    priority: bool = False
    """SGLang's `--enable-priority-scheduling`."""
    seed: int = 0
    """Of the `random` policy."""
    output_tokens: int = 64
    """Length of an answer that no request field limits."""
    report_cached_tokens: bool = True
    """`--enable-prompt-tokens-details` (vLLM) or `--enable-cache-report` (SGLang)."""

    @property
    def pool(self) -> int:
        """The KV pool in tokens."""
        return self.kv_tokens or PRESETS[self.preset].kv_tokens

    @property
    def context(self) -> int:
        """Longest prompt and answer together, in tokens."""
        return min(self.context_tokens or CONTEXT_TOKENS, self.pool)

    def engine(self) -> EngineConfig:
        """The model's configuration; KeyError for an unknown preset."""
        preset = PRESETS[self.preset]
        return EngineConfig(
            kind=self.kind,
            time=preset.vllm if self.kind == "vllm" else preset.sglang,
            kv_tokens=self.pool,
            block_size=self.block_size,
            chunk_tokens=self.chunk_tokens,
            max_running=self.max_running,
            policy=self.policy,
            priority=self.priority,
            seed=self.seed,
        )
