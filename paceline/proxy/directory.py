"""The backends that the proxy knows: where they are, what they serve, whether they are up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from paceline.engines.base import Kind
from paceline.proxy.config import BackendConfig


class BadBackend(ValueError):
    """An entry of the configuration that cannot be used; the message names it."""


class Target(Struct, frozen=True):
    """Where a backend listens."""

    host: str
    port: int
    tls: bool = False
    base_path: str = ""
    """Path before the engine's own, without a slash at its end."""

    @property
    def authority(self) -> str:
        """Host and port as they stand in a URL and in the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def url(self, path: str) -> str:
        """The address of one of the engine's paths."""
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.base_path}{path}"


class Entry(Struct):
    """One backend, as far as it is known."""

    id: str
    target: Target
    config: BackendConfig
    kind: Kind | None = None
    models: tuple[str, ...] = ()
    up: bool = False

    def serves(self, model: str) -> bool:
        """Whether a request for `model` (empty for any) can be sent here now."""
        return self.up and (not model or model in self.models)


class Directory:
    """The entries by id, in the order of the configuration."""

    def __init__(self, backends: Sequence[BackendConfig]) -> None:
        """Reads all URLs.

        Raises:
            BadBackend: a URL that is none, or a name that is there twice.
        """
        self._entries: dict[str, Entry] = {}
        self._turn = 0
        for index, config in enumerate(backends):
            target = _target(config.url, f"backends[{index}]")
            id = config.name or target.authority + target.base_path
            if id in self._entries:
                raise BadBackend(f"backends[{index}]: another backend is called {id!r}")
            self._entries[id] = Entry(id, target, config)

    def __getitem__(self, id: str) -> Entry:
        return self._entries[id]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def pick(self, model: str = "") -> str | None:
        """The backend whose turn it is to serve `model`, for requests that are not scheduled."""
        able = [entry.id for entry in self if entry.serves(model)]
        if not able:
            return None
        self._turn += 1
        return able[self._turn % len(able)]

    def models(self) -> tuple[str, ...]:
        """The models that can be had now, each once."""
        return tuple(dict.fromkeys(name for entry in self if entry.up for name in entry.models))


def _target(url: str, entry: str) -> Target:
    """Reads one URL; `entry` is what to call it in an error."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadBackend(f"{entry}: {url!r} is not a URL: {error}") from None
    if problem := _problem(parts):
        raise BadBackend(f"{entry}: {_shown(parts)!r} {problem}")
    tls = parts.scheme == "https"
    default = 443 if tls else 80
    return Target(parts.hostname or "", port or default, tls, parts.path.rstrip("/"))


def _problem(parts: SplitResult) -> str | None:
    if parts.scheme not in ("http", "https"):
        return "must begin with http:// or https://"
    if not parts.hostname:
        return "names no host"
    if parts.username is not None or parts.password is not None:
        return "must not hold credentials"
    if parts.query or parts.fragment:
        return "must not have a query or a fragment"
    if any(not char.isprintable() or char.isspace() for char in parts.geturl()):
        return "holds characters that no URL has"
    return None


def _shown(parts: SplitResult) -> str:
    """The URL without its credentials, which must not reach logs."""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
