"""Makes a proxy a member of the fleet that its configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paceline.proxy.config import FleetConfig
from paceline.proxy.fleet.member import Member
from paceline.proxy.fleet.messages import FORMAT
from paceline.scheduler.picture import Inspector
from paceline.scheduler.types import Request

if TYPE_CHECKING:
    from paceline.proxy.access.shared import Shared
    from paceline.proxy.serving.driver import Driver


def join(config: FleetConfig, shared: Shared | None, driver: Driver) -> Member | None:
    """The membership, not started; None where the configuration names no store."""
    if shared is None:
        return None
    from paceline.proxy.fleet.store import RedisStore  # needs redis, an extra

    inspector = Inspector(driver.scheduler)

    def find(id: str) -> Request | None:
        entry = inspector.entry(id)
        return None if entry is None else entry.request

    store = RedisStore(config, shared.password, stream(config.cell, shared))
    return Member(store, driver, find, config.interval_seconds)


def stream(cell: str, shared: Shared) -> str:
    """The stream's key. Proxies with another secret, whose block keys differ, have another."""
    return f"paceline:{FORMAT}:{cell}:{shared.mark}"
