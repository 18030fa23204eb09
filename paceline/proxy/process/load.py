"""Reads the configuration: the TOML file, with the flags laid over it, and has it checked."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from paceline.policies.decode import SettingError, decode
from paceline.proxy.config import BackendConfig, Config
from paceline.proxy.process.checks import check, check_numbers
from paceline.proxy.upstream.address import BadAddress, parse

C = TypeVar("C", bound=Config)


class ConfigError(Exception):
    """The configuration cannot be used; the message is one line that names file and key."""


class Flags(Struct, kw_only=True):
    """What the command line says; it overrides the file."""

    host: str | None = None
    port: int | None = None
    backends: tuple[str, ...] = ()
    policy: str | None = None
    log_format: str | None = None
    record: str | None = None
    workers: int | None = None


def load_config(path: Path | None, flags: Flags | None = None) -> Config:
    """The file's settings, or the defaults, with `flags` laid over them; checked.

    Every backend has a name and a URL without a slash at its end. Raises `ConfigError`.
    """
    config = Config() if path is None else checked(read(path, Config), str(path))
    return config if flags is None else checked(_overlay(config, flags), "command line")


def read(path: Path, cls: type[C]) -> C:
    """The file as it stands; raises `ConfigError`."""
    try:
        table = tomllib.loads(path.read_text("utf-8"))
        if "engines" in table and cls is Config:
            raise SettingError("$.engines", "`paceline up` starts engines; this does not")
        return decode(table, cls)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except SettingError as error:
        raise ConfigError(f"{path}: {error}") from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise ConfigError(f"{path}: {error}") from None


def _overlay(config: Config, flags: Flags) -> Config:
    table = msgspec.to_builtins(config)
    for section, key, value in (
        ("server", "host", flags.host),
        ("server", "port", flags.port),
        ("server", "workers", flags.workers),
        ("log", "format", flags.log_format),
        ("log", "record", flags.record),
    ):
        if value is not None:
            table[section][key] = value
    if flags.policy not in (None, config.policy.name):
        table["policy"] = {"name": flags.policy}  # the file's settings are another policy's
    if flags.backends:
        table["backends"] = [{"url": url} for url in flags.backends]
    return decode(table, Config)


def checked(config: C, source: str) -> C:
    """The same with every name filled in; raises `ConfigError` for what makes no sense."""
    try:
        check_numbers(config)
        config.backends = [_normal(b, f"$.backends[{i}]") for i, b in enumerate(config.backends)]
        check(config)
    except SettingError as error:
        raise ConfigError(f"{source}: {error}") from None
    return config


def _normal(backend: BackendConfig, path: str) -> BackendConfig:
    """With its name filled in and a bare URL; raises if the URL is not an engine's base address."""
    try:
        address = parse(backend.url, backend.name)
    except BadAddress as error:
        raise SettingError(f"{path}.url", str(error)) from None
    return msgspec.structs.replace(backend, url=backend.url.rstrip("/"), name=address.id)
