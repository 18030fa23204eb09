"""Command-line options of the generators, made from the fields of their settings."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

import click

from paceline.policies import describe
from paceline.policies.decode import SettingError, decode, hint
from paceline.sim.spec import KINDS

F = Callable[..., Any]


def generator_options(command: F) -> F:
    """Add an option for every field of every generator, once a name."""
    known = {kind: describe.settings(cls) for kind, cls in KINDS.items()}
    for name in reversed(names()):
        metavar = "NAME" if name in ("popularity", "order") else "N"
        command = click.option(f"--{name}", metavar=metavar, help=_meaning(name, known))(command)
    return command


def _meaning(name: str, known: dict[str, list[describe.Setting]]) -> str:
    """What the setting is to each generator that has it."""
    uses: dict[str, list[str]] = {}
    for kind, settings in known.items():
        for setting in settings:
            if setting.name == name:
                uses.setdefault(setting.doc, []).append(f"{kind}: {setting.default}")
    return " ".join(f"{doc}  [{', '.join(kinds)}]" for doc, kinds in uses.items())


def generator(kind: str, given: dict[str, str | None]) -> Any:
    """The settings of generator `kind`; UsageError for options that it lacks or wrong values."""
    cls = KINDS[kind]
    table = {name: value for name, value in given.items() if value is not None}
    known = list(cls.__struct_fields__)
    for name in table:
        if name not in known:
            raise click.UsageError(f"--workload {kind} has no --{name}; {hint(name, known)}")
    try:
        settings = decode({name: _number(value) for name, value in table.items()}, cls)
    except SettingError as error:
        raise click.UsageError(f"--{error.path.removeprefix('$.')}: {error.what}") from None
    for name in known:
        value = getattr(settings, name)
        if isinstance(value, int | float) and not _sound(name, value):
            raise click.UsageError(f"--{name}: must be positive and finite, got {value}")
    return settings


def _sound(name: str, value: float) -> bool:
    return isfinite(value) and (value > 0 or (value == 0 and name in _MAY_BE_ZERO))


_MAY_BE_ZERO = {"shared", "system", "think", "tool", "zipf"}


def names() -> list[str]:
    """Parameters that `generator_options` adds."""
    return list(dict.fromkeys(name for cls in KINDS.values() for name in cls.__struct_fields__))


def _number(text: str) -> int | float | str:
    """What the text looks like; whether that fits the field is checked with the others."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
