"""What the proxies of a fleet have in common: a secret, and what is made of it."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

from msgspec import Struct

from paceline.proxy.access.keys import BadKeys, secret
from paceline.proxy.config import FleetConfig

SEED_BYTES = 16
"""As many as a proxy alone draws."""


class Shared(Struct, frozen=True):
    """Equal in all proxies of a fleet."""

    seed: bytes
    """Of the block keys."""
    salts: bytes
    """The secret for tenants' salts, where no other is configured."""
    mark: str
    """Tells whether two proxies have the same secret, and nothing else of it."""
    password: str
    """The store's; empty for none."""


def shared(config: FleetConfig) -> Shared | None:
    """What the configuration names; None without a store. Raises BadKeys."""
    if not config.url:
        return None
    common = _read(config.secret_file, config.secret_env)
    if not common:
        raise BadKeys("takes secret_file or secret_env, the same secret in all proxies")
    return Shared(
        seed=_made(common, b"seed", SEED_BYTES),
        salts=_made(common, b"salts", 32),
        mark=_made(common, b"mark", 4).hex(),
        password=_read(config.password_file, config.password_env),
    )


def _read(file: str, variable: str) -> str:
    """The secret in a file, or else in an environment variable; empty where neither is named."""
    if file:
        try:
            text = Path(file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BadKeys(f"{file}: {getattr(error, 'strerror', None) or error}") from None
        if not text:
            raise BadKeys(f"{file}: is empty")
        return text
    return secret(variable) if variable else ""


def _made(common: str, what: bytes, size: int) -> bytes:
    key = blake2b(common.encode()).digest()
    return blake2b(what, key=key, digest_size=size).digest()
