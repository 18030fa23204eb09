"""Packages that only some output and some machines need: imported when asked for, or named."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


class MissingExtra(Exception):
    """A package is not installed; the message is one line that says how to install it."""


def extra(name: str, module: str) -> ModuleType:
    """The module that `paceline[name]` brings; MissingExtra."""
    try:
        return import_module(module)
    except ImportError as error:
        install = f"pip install 'paceline[{name}]'"
        raise MissingExtra(
            f"--{name} needs {module.partition('.')[0]}: {install} ({error})"
        ) from None
