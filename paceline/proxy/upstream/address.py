"""Where and how an engine is reached: a backend's URL, key and certificates, read in one place."""

from __future__ import annotations

import ssl
from functools import cached_property
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct, structs

from paceline.proxy.access import tls
from paceline.proxy.access.keys import BadKeys, secret
from paceline.proxy.config import BackendConfig

POLARITY = {"no": 0, "lower_first": -1, "higher_first": 1}


class BadAddress(ValueError):
    """Not the base URL of an engine; the message says why and shows no credentials."""


class Secret(str):
    """Text that is not shown by accident."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class Address(Struct, frozen=True, kw_only=True, dict=True):
    """One engine's address, under the name that the scheduler has for it."""

    id: str
    host: str
    port: int
    tls: bool = False
    base: str = ""
    """Path in front of every request's own, without a slash at its end."""
    key: Secret = Secret()
    """The engine's own API key, sent instead of the client's; empty for none."""
    priority: int = 0
    """How it ranks the `priority` in a body: 1 higher first, -1 lower first, 0 not to be told."""
    context: ssl.SSLContext | None = None
    """How to speak TLS there; None for the system's authorities."""

    @property
    def authority(self) -> str:
        """Host and port as they stand in a URL and in the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @cached_property
    def host_line(self) -> bytes:
        """The Host header of requests to it."""
        return b"Host: " + self.authority.encode()

    @cached_property
    def credentials(self) -> tuple[bytes, ...]:
        """The header that lets requests into it; empty where the client's is passed on."""
        return (b"Authorization: Bearer " + self.key.encode(),) if self.key else ()

    @property
    def place(self) -> tuple[str, bool, str]:
        """What tells two engines apart."""
        return self.authority, self.tls, self.base

    def url(self, path: str) -> str:
        """The address of one of the engine's paths."""
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.base}{path}"


def reach(config: BackendConfig) -> Address:
    """A configured backend's address, with what it takes to be let in; raises BadAddress."""
    found = parse(config.url, config.name)
    if (config.ca_file or config.cert_file) and not found.tls:
        raise BadAddress(f"Certificates need https, got {config.url}")
    try:
        key = Secret(secret(config.api_key_env) if config.api_key_env else "")
        context = tls.for_engine(config)
    except (BadKeys, tls.BadCertificate) as error:
        raise BadAddress(str(error)) from None
    if not key.isascii() or not key.isprintable():
        raise BadAddress(f"{config.api_key_env} is not a key")
    priority = POLARITY[config.pass_priority]
    return structs.replace(found, key=key, priority=priority, context=context)


def parse(url: str, name: str = "") -> Address:
    """The address in `url`, called `name` or else by host, port and path; raises BadAddress."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadAddress(f"{error}: {url.rpartition('@')[2]}") from None
    if problem := _problem(parts, port):
        raise BadAddress(problem)
    tls = parts.scheme == "https"
    port = port or (443 if tls else 80)
    base = parts.path.rstrip("/")
    found = Address(id=name, host=parts.hostname or "", port=port, tls=tls, base=base)
    return found if name else structs.replace(found, id=found.authority + base)


def _problem(parts: SplitResult, port: int | None) -> str | None:
    if parts.query or parts.fragment or parts.username is not None:
        return f"Expected no user, query or fragment: {parts.hostname}"
    url = parts.geturl()
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return f"Expected http://HOST:PORT, got {url}"
    if any(not char.isprintable() or char.isspace() for char in url):
        return f"Expected no blanks and control characters, got {url!r}"
    if parts.path.rstrip("/").endswith("/v1"):
        return f"Expected it without the /v1, got {url}"
    return None
