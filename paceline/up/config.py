"""The file that `paceline up` reads: the proxy's configuration, and the engines to start."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field

from paceline.proxy.config import Config


class EngineConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[[engines]]`: one engine, which is also a backend of the proxy."""

    kind: Literal["vllm", "sglang"]
    """Which engine."""
    model: str
    """What it loads: a folder or a name on the Hub."""
    served_name: str = ""
    """What clients call the model; the end of `model` unless given."""
    name: str = ""
    """Its own name, as a backend and of its log file; `served_name` unless given."""
    port: int | None = None
    """TCP port on 127.0.0.1; a free one unless given."""
    python: str = ""
    """Interpreter of the environment that has the engine, such as `/opt/vllm/bin/python`; the one
    that runs paceline unless given."""
    command: list[str] = field(default_factory=list)
    """What to run instead of that interpreter, such as `["numactl", "-N", "0", "vllm", "serve"]`;
    the flags follow it."""
    args: dict[str, Any] | list[str] = field(default_factory=dict)
    """More flags, as the engine has them: a table such as `{max-model-len = 8192}`, in which `true`
    is a flag without a value, or a list of words."""
    env: dict[str, str] = field(default_factory=dict)
    """Environment variables beside those that paceline has."""
    gpus: list[int | str] | None = None
    """Its `CUDA_VISIBLE_DEVICES`; `[]` for none, and all of them unless given. Engines that share
    one start one after the other, in the file's order: each measures what memory is free."""
    start_seconds: float = 1200.0
    """Longest time from its start to its first good `/health`."""
    backend: dict[str, Any] = field(default_factory=dict)
    """What its `[[backends]]` would have, such as `{max_running = 16}`."""


class UpConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[up]`: how engines are looked after."""

    log_dir: str = "logs"
    """Folder of their output, `NAME.log` each; made if need be, and appended to."""
    restart_seconds: float = 1.0
    """Pause before an engine that ended is started again; it doubles with each further time."""
    max_restart_seconds: float = 60.0
    """Longest such pause."""
    max_crashes: int = 5
    """After so many ends in a row it is given up, while the others go on."""
    steady_seconds: float = 600.0
    """An engine that has served for so long starts to count anew."""
    stop_seconds: float = 30.0
    """How long an engine may take to end after SIGTERM, before SIGKILL."""


class File(Config, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    engines: list[EngineConfig] = field(default_factory=list)
    up: UpConfig = field(default_factory=UpConfig)
