"""A vLLM that serves the tiny model for embeddings."""

from __future__ import annotations

from pathlib import Path

from tests.real.engines import MODEL, Engine


class Embedder(Engine):
    """One more engine, which generates nothing."""

    def __init__(self, model: Path, log: Path) -> None:
        super().__init__("vllm", model, log)
        self._command = [
            *self._command[: self._command.index("--kv-events-config")],
            *("--runner", "pooling", "--convert", "embed"),
            *("--served-model-name", f"{MODEL}-embed"),
        ]

    def _warm_up(self) -> None:
        """It answers no completion."""
