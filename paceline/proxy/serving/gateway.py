"""What the HTTP half needs from the rest of the proxy, gathered in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct, field

from paceline.proxy.access.quotas import Quotas
from paceline.proxy.config import Config
from paceline.proxy.http.memory import Memory
from paceline.proxy.serving.ratio import TokenRatio
from paceline.proxy.serving.stored import Stored
from paceline.proxy.telemetry.record import Record
from paceline.proxy.upstream.directory import Directory
from paceline.proxy.upstream.retries import RetryBudget

if TYPE_CHECKING:
    from paceline.proxy.access.admission import Access
    from paceline.proxy.access.cors import Cors
    from paceline.proxy.access.salts import Salts
    from paceline.proxy.routes.admin import Admin
    from paceline.proxy.serving.decider import Decider
    from paceline.proxy.serving.tokenizing import Tokenizers
    from paceline.proxy.telemetry.spans import Tracing
    from paceline.proxy.ui.page import Dashboard
    from paceline.proxy.upstream.pool import Pool


class Gateway(Struct, kw_only=True, eq=False):
    """What forwarding takes: the settings, the parts, and what hangs on a request."""

    config: Config
    """A reload replaces it."""
    driver: Decider
    pool: Pool
    directory: Directory
    on_record: Callable[[Record], None]
    """Called once a request, at its end."""
    on_refused: Callable[[str], None] = lambda reason: None
    """Called when a connection is refused, with the reason."""
    ratio: TokenRatio
    """Turns bytes of prompt into tokens."""
    retries: RetryBudget
    seed: bytes
    """Seeds the block keys, so that a client cannot aim at another's prefix."""
    access: Access
    """Who may ask what."""
    salts: Salts | None
    """What keeps tenants' prompts apart; None where they share prefixes. A reload replaces it."""
    cors: Cors | None
    """Which pages of other origins may ask; None where none may."""
    tokenizers: Tokenizers
    """Makes token ids of prompts, for the models that have one."""
    memory: Memory
    """What all request bodies together may take."""
    stored: Stored = field(default_factory=Stored)
    """Where the responses are that engines keep."""
    quotas: Quotas | None = None
    """What each tenant may have, where that is limited. A reload replaces it."""
    tracing: Tracing | None = None
    """What traces requests, where that is wanted."""


class FullGateway(Gateway, kw_only=True, eq=False):
    """One proxy: with what is behind its own pages, too."""

    admin: Admin
    """Shows and changes the backends."""
    ready: Callable[[], bool]
    """Whether `/ready` says yes."""
    metrics: Callable[[], tuple[bytes, str]]
    """The body and the content type of `/metrics`."""
    state: Callable[[], bytes]
    """The JSON of `/paceline/state`."""
    dashboard: Dashboard
    """Answers for `/paceline/ui`."""
