"""What is asked for: a GPU, a load and models, from a TOML file or from flags."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Literal

from msgspec import Struct, field

from paceline.engines.model.engine import ModelKind
from paceline.plan.errors import PlanError
from paceline.policies.decode import SettingError, decode

KvDtype = Literal["auto", "fp8"]
MOST_FREE = 0.9
"""With more left free no real card holds a model."""


class GpuSpec(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[gpu]`: one card, by name or in figures; figures override the name's."""

    name: str = ""
    """Such as `h100` or `rtx-5090`."""
    memory_gib: float | None = None
    """As the card's name says it: 32 for a 32 GB card."""
    bandwidth_gb_s: float | None = None
    """Memory bandwidth in 10^9 bytes a second."""
    tflops: float | None = None
    """Dense bf16 arithmetic in 10^12 operations a second."""
    free: float = 0.1
    """Part of the memory that stays free, for what no estimate knows."""


class LoadSpec(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[load]`: requests of all models together."""

    requests_per_day: float = 10_000.0
    peak: float = 3.0
    """Rate of the busiest hour over the day's mean; an assumption, measure your own."""


class ModelSpec(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[[models]]`: one model on an engine of its own."""

    model: str
    """Path of a config.json or of the model's folder, or its name on the Hub."""
    name: str = ""
    """What clients call it, and the engine serves it as; the end of `model` unless given."""
    engine: ModelKind = "vllm"
    share: float = 1.0
    """Its part of the load, relative to the others' shares."""
    prompt_tokens: int = 1000
    """Mean length of a prompt."""
    shared_tokens: int = 0
    """How many of them all its prompts begin with."""
    output_tokens: int = 200
    """Mean length of an answer."""
    max_model_len: int | None = None
    """Longest prompt with its answer; all that the model can unless given."""
    max_running: int | None = None
    """Requests that its engine runs at once; from the load unless given."""
    kv_dtype: KvDtype = "auto"
    weights_gib: float | None = None
    """What its weights take; from its files, or counted from its config.json, unless given."""
    preset: str = ""
    """A step-time preset of the simulator, instead of one scaled to this model and card."""
    port: int | None = None
    """Port of its engine; counted up from 8001 unless given."""
    python: str = ""
    """Interpreter that has its engine, for `paceline up`."""


class PlanSpec(Struct, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    models: list[ModelSpec]
    gpu: GpuSpec = field(default_factory=GpuSpec)
    load: LoadSpec = field(default_factory=LoadSpec)


def read_spec(path: Path) -> PlanSpec:
    """The file's plan; PlanError that names file and key."""
    try:
        spec = decode(tomllib.loads(path.read_text("utf-8")), PlanSpec)
        return checked(spec)
    except OSError as error:
        raise PlanError(f"{path}: {error.strerror}") from None
    except (SettingError, PlanError, ValueError) as error:
        raise PlanError(f"{path}: {error}") from None


def checked(spec: PlanSpec) -> PlanSpec:
    """The same with every name and port filled in; PlanError for numbers that make no sense."""
    if not spec.models:
        raise PlanError("no models")
    if not 0 <= spec.gpu.free <= MOST_FREE:
        raise PlanError(f"gpu.free: must be from 0 to {MOST_FREE}, got {spec.gpu.free}")
    _check_positive("gpu", spec.gpu, ("memory_gib", "bandwidth_gb_s", "tflops"))
    _check_positive("load", spec.load, ("requests_per_day", "peak"))
    for index, model in enumerate(spec.models):
        model.name = model.name or _name(model.model)
        model.port = model.port or 8001 + index
        _check_positive(model.name, model, _POSITIVE)
        if not 0 <= model.shared_tokens <= model.prompt_tokens:
            raise PlanError(f"{model.name}.shared_tokens: must be from 0 to prompt_tokens")
    for what in ("name", "port"):
        values = [getattr(model, what) for model in spec.models]
        if twice := {value for value in values if values.count(value) > 1}:
            raise PlanError(f"models: two have the {what} {min(twice)}")
    return spec


def _name(model: str) -> str:
    """The end of a path or of a name on the Hub; of a config.json it is the folder's."""
    path = Path(os.path.abspath(model))  # "." has a name, too
    return path.parent.name if path.suffix == ".json" else path.name


_POSITIVE = (
    "share", "prompt_tokens", "output_tokens", "max_model_len", "max_running", "weights_gib",
)  # fmt: skip


def _check_positive(where: str, struct: Struct, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(struct, name)
        if value is not None and not 0 < value < float("inf"):
            raise PlanError(f"{where}.{name}: must be positive, got {value}")
