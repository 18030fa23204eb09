"""Reads and checks the file of `paceline up`, and makes a backend of every engine."""

from __future__ import annotations

import re
import socket
import tomllib
from contextlib import ExitStack, suppress
from pathlib import Path

from msgspec import Struct, structs

from paceline.policies.decode import SettingError, decode, hint
from paceline.proxy.config import BackendConfig, Config
from paceline.proxy.process.load import ConfigError, checked, read
from paceline.up.command import OWN, flags, names
from paceline.up.config import EngineConfig, File, UpConfig

NAME = re.compile(r"[\w.@:+-]+")
"""What is a file's name, too."""
TAKEN = ("url", "name", "kind", "models")
"""What a backend has from its engine."""


class Loaded(Struct, frozen=True, kw_only=True):
    """What was read."""

    config: Config
    """The proxy's, with a backend an engine behind those that the file has."""
    engines: list[EngineConfig]
    """With all names and ports filled in."""
    told: list[EngineConfig]
    """As they stand in the file."""
    up: UpConfig

    def keeping(self, before: Loaded) -> Config:
        """The proxy's configuration as it is now, with the engines of one that was read before."""
        own = self.config.backends[: -len(self.engines)]
        engines = before.config.backends[-len(before.engines) :]
        return structs.replace(self.config, backends=[*own, *engines])


def load(path: Path) -> Loaded:
    """The file; raises ConfigError, a line that names file and key."""
    file = read(path, File)
    told = file.engines
    try:
        engines = _filled(told)
        _check(engines, file)
        backends = [_backend(engine, f"$.engines[{i}]") for i, engine in enumerate(engines)]
    except SettingError as error:
        raise ConfigError(f"{path}: {error}") from None
    file.engines = engines
    file.backends = [*file.backends, *backends]
    checked(file, str(path))
    config = Config(**{name: getattr(file, name) for name in Config.__struct_fields__})
    return Loaded(config=config, engines=engines, told=told, up=file.up)


def starts_engines(path: Path) -> bool:
    """Whether a file is for `paceline up`; of one that cannot be read others say why."""
    with suppress(OSError, ValueError):
        return "engines" in tomllib.loads(path.read_text("utf-8"))
    return False


def _free_ports(count: int) -> list[int]:
    """So many ports of 127.0.0.1 that nobody has at the moment."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _filled(engines: list[EngineConfig]) -> list[EngineConfig]:
    found = iter(_free_ports(sum(engine.port is None for engine in engines)))
    ports = [next(found) if engine.port is None else engine.port for engine in engines]
    return [_named(engine, port) for engine, port in zip(engines, ports, strict=True)]


def _named(engine: EngineConfig, port: int) -> EngineConfig:
    served = engine.served_name or engine.model.rstrip("/").rpartition("/")[2]
    return structs.replace(engine, served_name=served, name=engine.name or served, port=port)


def _check(engines: list[EngineConfig], file: File) -> None:
    if not engines:
        raise SettingError("$.engines", "there are none; `paceline serve` runs the proxy alone")
    for i, engine in enumerate(engines):
        _check_engine(engine, f"$.engines[{i}]")
    for key in ("name", "port"):
        _check_once([getattr(engine, key) for engine in engines], key)
    served = [engine.served_name for engine in engines]
    known = served + [name for backend in file.backends for name in backend.models]
    if not file.discovery and all(backend.models for backend in file.backends):
        for i, rule in enumerate(file.rules):
            if rule.to not in known:
                problem = f"no engine serves `{rule.to}`; {hint(rule.to, known)}"
                raise SettingError(f"$.rules[{i}].to", problem)


def _check_engine(engine: EngineConfig, path: str) -> None:
    if not engine.model:
        raise SettingError(f"{path}.model", "expected a folder or a name on the Hub")
    if not NAME.fullmatch(engine.name):
        problem = f"expected letters, digits and .-_@:+ only, got `{engine.name}`"
        raise SettingError(f"{path}.name", problem)
    if engine.python and engine.command:
        raise SettingError(f"{path}.command", "takes the place of `python`: give one of them")
    for flag in sorted(names(flags(engine.args)) & OWN.keys()):
        raise SettingError(f"{path}.args", f"{flag} is set by `{OWN[flag]}`")


def _check_once(values: list[object], key: str) -> None:
    for i, value in enumerate(values):
        first = values.index(value)
        if first != i:
            problem = f"`{value}` is $.engines[{first}]'s already; give each its own"
            raise SettingError(f"$.engines[{i}].{key}", problem)


def _backend(engine: EngineConfig, path: str) -> BackendConfig:
    for key in TAKEN:
        if key in engine.backend:
            raise SettingError(f"{path}.backend.{key}", "is the engine's own")
    own = {
        "url": f"http://127.0.0.1:{engine.port}",
        "name": engine.name,
        "kind": engine.kind,
        "models": [engine.served_name],
    }
    try:
        return decode(engine.backend | own, BackendConfig)
    except SettingError as error:
        raise SettingError(f"{path}.backend{error.path[1:]}", error.what) from None
