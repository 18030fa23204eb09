"""Reads a Struct's settings: name, type, default and the docstring under each field."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any

import msgspec
from msgspec import NODEFAULT, Struct


class Setting(Struct, frozen=True):
    """One field of a Struct, as a person reads it."""

    name: str
    type: str
    default: str | None
    """As TOML would spell it; None when the field must be given."""
    doc: str


def settings(struct: type[Struct]) -> list[Setting]:
    """The fields of `struct`, its bases' included, in order; `doc` is empty without the source."""
    written = _written(struct)
    return [
        _setting(field, *written.get(field.name, ("", "")))
        for field in msgspec.structs.fields(struct)
    ]


def summary(struct: type[Struct]) -> str:
    """The class's own docstring, on one line; empty if it has none."""
    return " ".join((struct.__dict__.get("__doc__") or "").split())


def _written(struct: type[Struct]) -> dict[str, tuple[str, str]]:
    """(annotation, docstring) of each field, read from the source of the class and its bases."""
    found: dict[str, tuple[str, str]] = {}
    for cls in reversed(struct.__mro__[:-1]):
        if cls is Struct or not issubclass(cls, Struct):
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
        except (OSError, TypeError):  # a class made at a prompt or by exec has no source
            continue
        found.update(_fields(tree.body[0]))
    return found


def _fields(node: ast.stmt) -> dict[str, tuple[str, str]]:
    assert isinstance(node, ast.ClassDef)
    found: dict[str, tuple[str, str]] = {}
    for statement, after in zip(node.body, [*node.body[1:], None], strict=True):
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                found[name] = (ast.unparse(annotation), _docstring(after))
    return found


def _docstring(node: ast.stmt | None) -> str:
    match node:
        case ast.Expr(value=ast.Constant(value=str() as text)):
            return " ".join(text.split())
    return ""


def _setting(field: msgspec.structs.FieldInfo, annotation: str, doc: str) -> Setting:
    return Setting(field.encode_name, annotation, _default(field), doc)


def _default(field: msgspec.structs.FieldInfo) -> str | None:
    value: Any = field.default
    if field.default_factory is not NODEFAULT:
        value = field.default_factory()
    if value is NODEFAULT:
        return None
    return "none" if value is None else msgspec.json.encode(value).decode()
