"""`/paceline/state`: what the scheduler holds at this instant, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from paceline import __version__
from paceline.proxy.config import Config
from paceline.scheduler.snapshot import Snapshot

Life = Literal["waiting", "starting", "ready", "restarting", "failed", "stopped"]
"""`waiting` for others to have started, `restarting` after a pause, `failed` when given up."""


class EngineState(Struct, frozen=True, kw_only=True):
    """One engine that `paceline up` has started."""

    name: str
    """As its backend is called."""
    state: Life
    pid: int | None
    """Of the engine's first process, while it runs."""
    restarts: int
    """How often it was started again."""
    log: str
    """The file that its output goes to."""


class State(Struct, frozen=True, kw_only=True):
    """The answer's shape."""

    version: str
    uptime_seconds: float
    policy: str
    policy_settings: dict[str, Any]
    engines: Sequence[EngineState]
    scheduler: Snapshot
    fleet: Struct | None
    """The other proxies, where there are some."""


def state_json(
    config: Config,
    snapshot: Snapshot,
    uptime: float,
    engines: Sequence[EngineState] = (),
    fleet: Struct | None = None,
) -> bytes:
    """The state as indented JSON, for people with curl; `uptime` in seconds."""
    state = State(
        version=__version__,
        uptime_seconds=round(uptime, 1),
        policy=config.policy.name,
        policy_settings=config.policy.settings,
        engines=engines,
        scheduler=snapshot,
        fleet=fleet,
    )
    return msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n"
