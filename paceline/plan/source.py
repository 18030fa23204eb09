"""Finds a model's config.json and what its weights weigh: a file, a folder, or a Hub name."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import msgspec
from msgspec import Struct

from paceline.plan.errors import PlanError

HUB = "https://huggingface.co"
"""Unless `HF_ENDPOINT` names another, as for huggingface_hub."""
NAME = re.compile(r"[\w.-]+/[\w.-]+")
HUB_SECONDS = 10.0
"""Longest wait for each of the Hub's answers."""
INDEX = "model.safetensors.index.json"


class Files(Struct, frozen=True):
    """One model's config.json as it stands, and its weights where they are known."""

    source: str
    """The path or URL that was read, for messages."""
    model: str
    """What an engine loads: the folder, or the name on the Hub."""
    config: bytes
    weight_bytes: int | None = None
    """What the safetensors files hold; None when only the config is there."""


class _Metadata(Struct):
    total_size: int | None = None


class _Index(Struct):
    metadata: _Metadata | None = None


def find(name: str, base: Path) -> Files:
    """The files of `name`, relative to `base` or on the Hub; PlanError that says what was tried."""
    path = base / name
    if path.is_dir():
        return _folder(path)
    if path.exists():
        return Files(str(path), str(path.parent), _read(path))
    if not NAME.fullmatch(name):
        raise PlanError(f"{path}: no such file or folder, and no name of a model on the Hub")
    return _from_hub(name, path)


def _folder(path: Path) -> Files:
    config = path / "config.json"
    return Files(str(config), str(path), _read(config), _weights(path))


def _weights(path: Path) -> int | None:
    if (path / INDEX).exists():
        return _total(_read(path / INDEX), str(path / INDEX))
    return sum(file.stat().st_size for file in path.glob("*.safetensors")) or None


def _total(data: bytes, source: str) -> int | None:
    try:
        index = msgspec.json.decode(data, type=_Index)
    except msgspec.DecodeError as error:
        raise PlanError(f"{source}: {error}") from None
    return index.metadata.total_size if index.metadata else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PlanError(f"{path}: {error.strerror}") from None


def _from_hub(name: str, tried: Path) -> Files:
    root = f"{os.environ.get('HF_ENDPOINT', HUB).rstrip('/')}/{name}/resolve/main"
    try:
        config = _get(f"{root}/config.json")
    except (URLError, TimeoutError) as error:
        raise PlanError(
            f"{tried} does not exist and {root}/config.json cannot be read: "
            f"{error}; download the model's config.json and name its path"
        ) from None
    try:
        weights = _total(_get(f"{root}/{INDEX}"), INDEX)
    except (URLError, TimeoutError):  # weights in one file have no index
        weights = None
    return Files(f"{root}/config.json", name, config, weights)


def _get(url: str) -> bytes:
    token = os.environ.get("HF_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urlopen(Request(url, headers=headers), timeout=HUB_SECONDS) as reply:
        data: bytes = reply.read()
    return data
