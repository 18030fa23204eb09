"""Models of the tests: their public config.json files."""

from __future__ import annotations

from pathlib import Path

from paceline.plan.architecture import Architecture, architecture
from paceline.plan.model import Model, load_model
from paceline.plan.spec import ModelSpec

DATA = Path(__file__).parent / "data"


def shape(name: str) -> Architecture:
    """What the model's config.json says."""
    return architecture((DATA / name / "config.json").read_bytes(), name)


def model(name: str, spec: ModelSpec | None = None) -> Model:
    """The model as it would be served."""
    return load_model(spec or ModelSpec(model=name, name=name, max_model_len=2048), DATA)
