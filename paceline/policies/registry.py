"""Policies by name: an entry point of the group `paceline.policies`, or `module:Class`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from msgspec import Struct

from paceline.policies import describe
from paceline.policies.decode import decode, hint
from paceline.scheduler.policy import Policy

GROUP = "paceline.policies"


class PolicyError(Exception):
    """No such policy, or not one that works; the message is one line for the operator."""


class Installed(Struct, frozen=True):
    """What `paceline policies` tells of one policy."""

    name: str
    package: str
    """The distribution that brings it, with its version."""
    doc: str
    settings: list[describe.Setting]
    error: str = ""
    """Why it cannot be used; empty for a sound one."""


def load(name: str, settings: Mapping[str, Any]) -> Policy:
    """The policy called `name`, with these settings.

    Raises `PolicyError` about the name or the class, `SettingError` about a setting.
    """
    return decode(settings, find(name))


def find(name: str) -> type[Policy]:
    """The class behind an entry point's name or `module:Class`; `PolicyError` if there is none."""
    if ":" in name:
        return _resolve(name, EntryPoint(name, name, GROUP))
    points = {point.name: point for point in entry_points(group=GROUP)}
    if name not in points:
        raise PolicyError(f"no policy `{name}`; {hint(name, sorted(points))}")
    return _resolve(name, points[name])


def installed() -> list[Installed]:
    """Every policy with an entry point, by name; a broken one is listed with its error."""
    return [_describe(point) for point in sorted(entry_points(group=GROUP), key=lambda p: p.name)]


def _describe(point: EntryPoint) -> Installed:
    package = f"{point.dist.name} {point.dist.version}" if point.dist else "?"
    try:
        cls = _resolve(point.name, point)
    except PolicyError as error:
        return Installed(point.name, package, "", [], str(error))
    return Installed(point.name, package, describe.summary(cls), describe.settings(cls))


def _resolve(name: str, point: EntryPoint) -> type[Policy]:
    if not EntryPoint.pattern.match(point.value):
        raise PolicyError(f"policy `{name}`: `{point.value}` is not `module:Class`")
    try:
        target: object = import_module(point.module)
    except Exception as error:  # whatever a foreign module raises as it is imported
        raise PolicyError(f"policy `{name}`: cannot import {point.module}: {error}") from error
    for part in point.attr.split("."):
        target = getattr(target, part, None)
    if target is None:
        raise PolicyError(f"policy `{name}`: {point.module} has no `{point.attr}`")
    if not (isinstance(target, type) and issubclass(target, Policy)):
        raise PolicyError(f"policy `{name}`: {point.value} is not a subclass of paceline's Policy")
    return target
