"""Makes the engine model that a configuration asks for."""

from __future__ import annotations

from paceline.engines.model.engine import Engine, EngineConfig
from paceline.engines.model.sglang import SglangEngine
from paceline.engines.model.vllm import VllmEngine


def build_engine(config: EngineConfig) -> Engine:
    """An idle engine; ValueError when it lacks the policy."""
    return VllmEngine(config) if config.kind == "vllm" else SglangEngine(config)
