"""What the HTTP half needs from the rest of the proxy, gathered in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from paceline.proxy.config import Config
from paceline.proxy.ratio import TokenRatio
from paceline.proxy.record import Record
from paceline.proxy.retries import RetryBudget

if TYPE_CHECKING:
    from paceline.proxy.driver import Driver
    from paceline.proxy.upstream import Pool


class Backend(Struct, frozen=True, kw_only=True):
    """Where one engine is reached."""

    id: str
    """The scheduler's name for it."""
    host: str
    port: int
    tls: bool = False
    base: str = ""
    """Path in front of every request's own, without a slash at its end."""

    @property
    def authority(self) -> bytes:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}".encode()


class BackendDirectory(Protocol):
    """Which engines there are; kept up to date by the health checks."""

    def get(self, id: str) -> Backend | None:
        """The backend with this name, whether up or not."""
        ...

    def up(self) -> Sequence[Backend]:
        """The backends that may be sent requests now."""
        ...

    def pick(self, model: str, avoid: str = "") -> Backend | None:
        """One that is up and serves `model` (any, if empty); `avoid` only if there is no other."""
        ...


class Gateway(Struct, frozen=True, kw_only=True, eq=False):
    """One proxy: its settings, its parts, and what hangs on its requests."""

    config: Config
    driver: Driver
    pool: Pool
    directory: BackendDirectory
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
    state: Callable[[], bytes]
    """The JSON of `/paceline/state`."""
