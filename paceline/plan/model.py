"""A model that is to be served: what was asked for, and what its config.json makes of it."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from paceline.engines.model.presets import PRESETS
from paceline.plan.architecture import ELEMENT_BYTES, Architecture, architecture
from paceline.plan.errors import PlanError
from paceline.plan.gpu import GIB
from paceline.plan.kv import kv_bytes
from paceline.plan.parameters import COUNTED, parameters
from paceline.plan.source import Files, find
from paceline.plan.spec import ModelSpec
from paceline.policies.decode import hint


class Model(Struct, frozen=True, kw_only=True):
    """One model with all that its size depends on."""

    spec: ModelSpec
    architecture: Architecture
    weight_bytes: int
    kv_token_bytes: int
    """Bytes of KV that a token takes."""
    max_model_len: int
    path: str
    """What its engine is told to load: a folder, or the name on the Hub."""
    notes: list[str]
    """What of it is an assumption."""

    @property
    def request_tokens(self) -> int:
        """Tokens of KV that a mean request ends with."""
        return self.spec.prompt_tokens + self.spec.output_tokens


def load_model(spec: ModelSpec, base: Path) -> Model:
    """Reads what `spec` names, relative to `base`; PlanError about files and figures."""
    files = find(spec.model, base)
    found = architecture(files.config, files.source)
    if spec.preset and spec.preset not in PRESETS:
        raise PlanError(f"{spec.name}.preset: {hint(spec.preset, list(PRESETS))}")
    length = spec.max_model_len or found.max_position_embeddings
    if length > found.max_position_embeddings:
        raise PlanError(
            f"{spec.name}.max_model_len: {length} is more than the "
            f"{found.max_position_embeddings} positions of the model"
        )
    if spec.prompt_tokens + spec.output_tokens > length:
        raise PlanError(
            f"{spec.name}: a mean request of {spec.prompt_tokens} + {spec.output_tokens} tokens "
            f"is longer than the {length} that the model serves"
        )
    weights, note = _weights(spec, found, files)
    windowed = "sliding windows are sized as full attention: an upper bound"
    return Model(
        spec=spec,
        architecture=found,
        weight_bytes=weights,
        kv_token_bytes=kv_bytes(found, spec.kv_dtype),
        max_model_len=length,
        path=files.model,
        notes=[*([note] if note else []), *([windowed] if found.windowed else [])],
    )


def _weights(spec: ModelSpec, model: Architecture, files: Files) -> tuple[int, str]:
    """Their bytes on the GPU, and what is assumed for it."""
    if spec.weights_gib is not None:
        return int(spec.weights_gib * GIB), "weights as told"
    if files.weight_bytes is not None:
        return files.weight_bytes // (2 if model.halved else 1), ""
    if model.quantization_config is not None:
        raise PlanError(
            f"{spec.name}: quantized, and only its config.json is here; name a folder with its "
            f"weights, or give weights_gib"
        )
    if model.model_type not in COUNTED:
        raise PlanError(
            f"{spec.name}: parameters of `{model.model_type}` cannot be counted; name a folder "
            f"with its weights, or give weights_gib (counted: {', '.join(sorted(COUNTED))})"
        )
    return parameters(model) * ELEMENT_BYTES, "weights counted from config.json, 16 bits"
