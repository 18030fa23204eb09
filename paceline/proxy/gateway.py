"""What the HTTP half needs from the rest of the proxy, gathered in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from paceline.proxy.config import Config
from paceline.proxy.directory import Directory
from paceline.proxy.quotas import Quotas
from paceline.proxy.ratio import TokenRatio
from paceline.proxy.record import Record
from paceline.proxy.retries import RetryBudget

if TYPE_CHECKING:
    from paceline.proxy.driver import Driver
    from paceline.proxy.upstream import Pool


class Gateway(Struct, frozen=True, kw_only=True, eq=False):
    """One proxy: its settings, its parts, and what hangs on its requests."""

    config: Config
    driver: Driver
    pool: Pool
    directory: Directory
    on_record: Callable[[Record], None]
    """Called once a request, at its end."""
    ratio: TokenRatio
    """Turns bytes of prompt into tokens."""
    retries: RetryBudget
    seed: bytes
    """Seeds the block keys, so that a client cannot aim at another's prefix."""
    ready: Callable[[], bool]
    """Whether `/ready` says yes."""
    metrics: Callable[[], tuple[bytes, str]]
    """The body and the content type of `/metrics`."""
    quotas: Quotas | None = None
    """What each tenant may have, where that is limited."""
    state: Callable[[], bytes]
    """The JSON of `/paceline/state`."""
