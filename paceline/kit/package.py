"""Writes a policy package from the template beside this module."""

from __future__ import annotations

import keyword
import re
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from paceline import __version__
from paceline.policies.registry import installed

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
SUFFIX = ".txt"
"""Of the template's files, so that no tool takes them for code."""


class KitError(Exception):
    """A package cannot be written; the message is one line that says why."""


def write_package(name: str, into: Path) -> Path:
    """A new folder below `into` with a policy called `name`, its tests and its metadata.

    Raises:
        KitError: the name cannot be one, is taken, or the folder is there already.
    """
    names = _names(name)
    folder = into / names["distribution"]
    try:
        folder.mkdir(parents=True)
        _write(resources.files("paceline.kit") / "template", folder, names)
    except FileExistsError:
        raise KitError(f"{folder}: there is something already") from None
    except OSError as error:
        raise KitError(f"{folder}: {error.strerror}") from None
    return folder


def _names(name: str) -> dict[str, str]:
    class_name = "".join(part.capitalize() for part in name.split("-"))
    if not NAME.fullmatch(name) or keyword.iskeyword(class_name):
        raise KitError(f"`{name}`: a policy's name is small letters, digits and single hyphens")
    if taken := next((policy for policy in installed() if policy.name == name), None):
        raise KitError(f"`{name}` is a policy of {taken.package}")
    return {
        "name": name,
        "distribution": f"paceline-{name}",
        "package": f"paceline_{name.replace('-', '_')}",
        "class_name": class_name,
        "version": __version__,
    }


def _write(source: Traversable, target: Path, names: dict[str, str]) -> None:
    """The template's folder called `package` becomes the package itself."""
    for item in source.iterdir():
        if item.is_dir():
            inner = target / (names["package"] if item.name == "package" else item.name)
            inner.mkdir()
            _write(item, inner, names)
        else:
            text = Template(item.read_text("utf-8")).substitute(names)
            (target / item.name.removesuffix(SUFFIX)).write_text(text, "utf-8")
