"""Whether a configuration makes sense: numbers in their ranges, settings that fit each other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from ipaddress import ip_address
from urllib.parse import urlsplit

from msgspec import Struct

from paceline.engines.tokens import TokenizerError
from paceline.policies.decode import SettingError
from paceline.policies.registry import PolicyError, load
from paceline.proxy.config import BackendConfig, Config, FleetConfig
from paceline.proxy.serving.tokenizing import tokenizers

MINIMUM = {
    "$.server.port": 0,
    "$.server.drain_seconds": 0,
    "$.server.grace_seconds": 0,
    "$.server.max_connections_per_address": 0,
    "$.admin.port": 0,
    "$.scheduler.max_waiting": 0,
    "$.scheduler.max_waiting_tokens": 0,
    "$.scheduler.follower_min_tokens": 0,
    "$.scheduler.load_factor": 1,
    "$.scheduler.recent_requests": 0,
    "$.tracing.sample": 0,
}
"""Least values of the numbers that need not be positive, or must be more than that."""
MAXIMUM = {
    "$.server.port": 65535,
    "$.admin.port": 65535,
    "$.tracing.sample": 1,
    "$.fleet.interval_seconds": 1,
}


def check_numbers(config: Config) -> None:
    """Raises SettingError for the first number out of its range."""
    for path, value in _numbers(config, "$"):
        _check_number(path, value)


def check(config: Config) -> None:
    """Raises SettingError for what cannot be, or needs an extra that is not installed.

    Every backend has its name by now.
    """
    _check_names(config.backends)
    _check_policy(config)
    _check_models(config)
    _check_tracing(config)
    _check_discovery(config)
    _check_rules(config)
    _check_fleet(config.fleet)


def _numbers(struct: Struct, path: str) -> Iterator[tuple[str, float]]:
    """Every number in `struct`, with its path."""
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if isinstance(value, Struct):
            yield from _numbers(value, f"{path}.{name}")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{path}.{name}", value
        for key, item in _items(value):
            if isinstance(item, Struct):
                yield from _numbers(item, f"{path}.{name}{key}")


def _items(value: object) -> Iterable[tuple[str, object]]:
    """What is in a list or a table, with its part of the path."""
    if isinstance(value, list):
        return ((f"[{i}]", item) for i, item in enumerate(value))
    if isinstance(value, dict):
        return ((f".{name}", item) for name, item in value.items())
    return ()


def _check_number(path: str, value: float) -> None:
    if path not in MINIMUM and not value > 0:
        raise SettingError(path, f"must be positive, got {value}")
    if path in MINIMUM and not value >= MINIMUM[path]:
        raise SettingError(path, f"must be at least {MINIMUM[path]}, got {value}")
    if path in MAXIMUM and value > MAXIMUM[path]:
        raise SettingError(path, f"must be at most {MAXIMUM[path]}, got {value}")
    if math.isinf(value):
        raise SettingError(path, "must be finite")


def _check_names(backends: list[BackendConfig]) -> None:
    seen: dict[str, int] = {}
    for i, backend in enumerate(backends):
        first = seen.setdefault(backend.name, i)
        if first != i:
            raise SettingError(
                f"$.backends[{i}].name", f"`{backend.name}` is already $.backends[{first}]"
            )


def _check_policy(config: Config) -> None:
    try:
        load(config.policy.name, config.policy.settings)
    except PolicyError as error:
        raise SettingError("$.policy.name", str(error)) from None
    except SettingError as error:
        raise SettingError(f"$.policy.settings{error.path[1:]}", error.what) from None


def _check_models(config: Config) -> None:
    try:
        tokenizers(config.models)
    except TokenizerError as error:
        raise SettingError("$.models", str(error)) from None
    if any(backend.kv_events for backend in config.backends) and find_spec("zmq") is None:
        raise SettingError("$.backends", "kv_events: install paceline[kv-events]")


def _check_tracing(config: Config) -> None:
    endpoint = config.tracing.endpoint
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise SettingError("$.tracing.endpoint", f"expected http://HOST:PORT/PATH, got {endpoint}")
    if endpoint and not _installed("opentelemetry.exporter.otlp.proto.http"):
        raise SettingError("$.tracing", "install paceline[otel]")


def _check_discovery(config: Config) -> None:
    for i, one in enumerate(config.discovery):
        path = f"$.discovery[{i}]"
        if len([where for where in (one.service, one.srv, one.host) if where]) != 1:
            raise SettingError(path, "expected one of service, srv and host")
        if not one.service and not _installed("dns.asyncresolver"):
            raise SettingError(path, "install paceline[dns]")
        if one.resolver and not _is_address(one.resolver):
            raise SettingError(f"{path}.resolver", f"expected ADDRESS:PORT, got {one.resolver}")
        if (one.ca_file or one.cert_file) and one.scheme != "https":
            raise SettingError(path, "certificates need scheme https")


def _check_rules(config: Config) -> None:
    for i, rule in enumerate(config.rules):
        if not rule.to:
            raise SettingError(f"$.rules[{i}].to", "expected a model's name")
        for what in ("prompt_tokens", "output_tokens"):
            least, most = getattr(rule, f"min_{what}"), getattr(rule, f"max_{what}")
            if least is not None and most is not None and least > most:
                raise SettingError(f"$.rules[{i}].min_{what}", f"is more than max_{what}, {most}")


def _check_fleet(fleet: FleetConfig) -> None:
    if not fleet.url:
        return
    at = urlsplit(fleet.url)
    if at.scheme not in ("redis", "rediss") or not at.hostname:
        raise SettingError("$.fleet.url", "expected redis://HOST:PORT/DB or rediss://")
    if at.password is not None:
        raise SettingError("$.fleet.url", "a password stands in password_file or password_env")
    if fleet.ca_file and at.scheme != "rediss":
        raise SettingError("$.fleet.ca_file", "needs rediss://")
    if not _installed("redis.asyncio"):
        raise SettingError("$.fleet", "install paceline[redis]")


def _is_address(server: str) -> bool:
    """Whether it is an IP address and a port: to ask for a resolver's own name takes another."""
    host, _, port = server.rpartition(":")
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return port.isdecimal()


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even what it is part of
        return False
