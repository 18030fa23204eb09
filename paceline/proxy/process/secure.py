"""Reads all secrets that the configuration names, together: either all are sound, or none is used.

They are not in the configuration itself, so that it can be shown and kept in a repository.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import TypeVar

from msgspec import Struct

from paceline.proxy.access import tls
from paceline.proxy.access.admission import STATELESS, UNCACHED, Access
from paceline.proxy.access.cors import BadOrigins, Cors, cors
from paceline.proxy.access.hosts import BadHosts, Hosts
from paceline.proxy.access.keys import BadKeys, Keys, read_keys, secret
from paceline.proxy.access.salts import Salts
from paceline.proxy.access.shared import Shared, shared
from paceline.proxy.config import AdminConfig, AuthConfig, Config
from paceline.proxy.process.load import ConfigError
from paceline.proxy.upstream.address import BadAddress, reach

T = TypeVar("T")


class Security(Struct, frozen=True, kw_only=True):
    """What was read."""

    access: Access
    salts: Salts | None
    """None where tenants share prefixes."""
    tls: ssl.SSLContext | None
    cors: Cors | None
    """None where pages of other origins may not ask."""
    shared: Shared | None
    """What all proxies of a fleet have; None in no fleet."""
    hosts: Hosts
    """Where backends may be that are added through the API."""


def secure(config: Config) -> Security:
    """All that the configuration's names stand for; raises ConfigError."""
    auth, admin = config.auth, config.admin
    _read("$.server.load_balancers", lambda: Hosts(config.server.load_balancers))
    keys = _read("$.auth", lambda: read_keys(auth.keys_file, auth.keys_env))
    admins = _read("$.admin", lambda: read_keys(admin.keys_file, admin.keys_env))
    _check(keys, admins, auth, admin)
    for i, backend in enumerate(config.backends):
        _read(f"$.backends[{i}]", lambda backend=backend: reach(backend))  # type: ignore[misc]
    common = _read("$.fleet", lambda: shared(config.fleet))
    return Security(
        access=Access(keys, admins, separate=admin.port is not None, paths=_paths(auth)),
        salts=_read("$.auth.salt_env", lambda: _salts(auth, common)),
        shared=common,
        tls=_read("$.tls", lambda: tls.for_clients(config.tls)),
        cors=_read("$.server.cors_origins", lambda: cors(config.server.cors_origins)),
        hosts=_read("$.admin.backend_hosts", lambda: Hosts(admin.backend_hosts)),
    )


def files(config: Config) -> list[str]:
    """The files that `secure` reads."""
    named = [config.auth.keys_file, config.admin.keys_file]
    named += [config.tls.cert_file, config.tls.key_file, config.tls.client_ca_file]
    named += [config.fleet.secret_file, config.fleet.password_file]
    for backend in config.backends:
        named += [backend.ca_file, backend.cert_file]
    return [name for name in named if name]


def _check(keys: Keys, admins: Keys, auth: AuthConfig, admin: AdminConfig) -> None:
    if keys and not admins and admin.port is None:
        raise ConfigError("$.admin: with keys in [auth], it takes keys or a port of its own")
    if auth.isolate and not keys:
        raise ConfigError("$.auth.isolate: takes keys, which say whose a request is")
    if admin.backend_hosts and not admins:
        raise ConfigError("$.admin.backend_hosts: takes keys in [admin]")


def _paths(auth: AuthConfig) -> frozenset[str]:
    if auth.paths:
        return frozenset(auth.paths)
    return UNCACHED if auth.isolate else STATELESS


def _salts(auth: AuthConfig, common: Shared | None) -> Salts | None:
    if not auth.isolate:
        return None
    if auth.salt_env:
        return Salts(secret(auth.salt_env).encode())
    return Salts(common.salts if common is not None else b"")


def _read(path: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except (BadKeys, BadHosts, BadOrigins, BadAddress, tls.BadCertificate) as error:
        raise ConfigError(f"{path}: {error}") from None
