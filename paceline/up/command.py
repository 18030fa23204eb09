"""From an engine's settings to the command line and the environment that it is started with."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from paceline.up.config import EngineConfig

MODULES: dict[Literal["vllm", "sglang"], list[str]] = {
    "vllm": ["-m", "vllm.entrypoints.cli.main", "serve"],
    "sglang": ["-m", "sglang.launch_server"],
}
"""What an interpreter runs; `vllm` and `sglang` as programs are the same."""
DEFAULTS: dict[Literal["vllm", "sglang"], dict[str, Any]] = {
    "vllm": {"enable-prompt-tokens-details": True},
    "sglang": {"schedule-policy": "fcfs", "enable-cache-report": True},
}
"""So that they keep the order they are given and tell what they had cached (README.md)."""
OWN = {
    "--model": "model",
    "--model-path": "model",
    "--served-model-name": "served_name",
    "--host": "port",
    "--port": "port",
}
"""Flags that other keys stand for."""


class Command(Struct, frozen=True, kw_only=True):
    """What to run."""

    words: list[str]
    added: dict[str, str]
    """Environment variables beside our own."""

    @property
    def env(self) -> dict[str, str]:
        """The whole environment."""
        return os.environ | self.added

    def __str__(self) -> str:
        """As one would type it into a shell."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.added.items()]
        return " ".join([*variables, shlex.join(self.words)])


def command(engine: EngineConfig) -> Command:
    """The command of an engine whose names and port are filled in."""
    program = engine.command or [interpreter(engine), *MODULES[engine.kind]]
    loads = [engine.model] if engine.kind == "vllm" else ["--model-path", engine.model]
    fixed = {"served-model-name": engine.served_name, "host": "127.0.0.1", "port": engine.port}
    own = flags(engine.args)
    defaults = {k: v for k, v in DEFAULTS[engine.kind].items() if f"--{k}" not in names(own)}
    return Command(
        words=[*program, *loads, *flags(fixed), *flags(defaults), *own],
        added=_devices(engine) | engine.env,
    )


def interpreter(engine: EngineConfig) -> str:
    """The Python that has the engine."""
    return os.path.expanduser(engine.python) or sys.executable


def flags(args: Mapping[str, Any] | list[str]) -> list[str]:
    """A table as words: `true` is a flag alone, `false` none, a table JSON, a list many values."""
    if isinstance(args, list):
        return args
    words: list[str] = []
    for key, value in args.items():
        if value is not False:
            words += [f"--{key.replace('_', '-')}", *_values(value)]
    return words


def names(words: list[str]) -> set[str]:
    """The flags among the words."""
    return {word.partition("=")[0] for word in words if word.startswith("--")}


def _values(value: Any) -> list[str]:
    if value is True:
        return []
    if isinstance(value, dict):
        return [json.dumps(value)]
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _devices(engine: EngineConfig) -> dict[str, str]:
    if engine.gpus is None:
        return {}
    return {"CUDA_VISIBLE_DEVICES": ",".join(map(str, engine.gpus))}
