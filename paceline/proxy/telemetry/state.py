"""`/paceline/state`: what the scheduler holds at this instant, as JSON."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from paceline import __version__
from paceline.proxy.config import Config
from paceline.scheduler.snapshot import Snapshot


class State(Struct, frozen=True, kw_only=True):
    """The answer's shape."""

    version: str
    uptime_seconds: float
    policy: str
    policy_settings: dict[str, Any]
    scheduler: Snapshot
    fleet: Struct | None
    """The other proxies, where there are some."""


def state_json(
    config: Config, snapshot: Snapshot, uptime: float, fleet: Struct | None = None
) -> bytes:
    """The state as indented JSON, for people with curl; `uptime` in seconds."""
    state = State(
        version=__version__,
        uptime_seconds=round(uptime, 1),
        policy=config.policy.name,
        policy_settings=config.policy.settings,
        scheduler=snapshot,
        fleet=fleet,
    )
    return msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n"
