"""Tables into Structs, with errors that name the key at fault and the one that was meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, TypeVar, get_args

import msgspec
from msgspec import Struct

T = TypeVar("T", bound=Struct)
SLIP = 0.8
"""Likeness (difflib's ratio) from which a key is one of its own table's, mistyped, and not another
table's key as it stands there: `model` and `models` have 0.91, `queue_seconds` and `burst_seconds`
0.69."""


class SettingError(ValueError):
    """One setting is wrong: where it stands (`$.server.port`) and what is the matter."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(f"{path}: {what}")
        self.path = path
        self.what = what


def decode(table: Mapping[str, Any], cls: type[T]) -> T:
    """`table` as a `cls`; raises `SettingError` on wrong types and unknown or missing keys."""
    try:
        return msgspec.convert(dict(table), cls)
    except msgspec.ValidationError as error:
        raise _explain(str(error), cls) from None


def hint(key: str, known: list[str]) -> str:
    """What to say after an unknown `key`: the nearest known one, or all of them."""
    close = difflib.get_close_matches(key, known, 1)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"known: {', '.join(known)}" if known else "there are none"


def _explain(message: str, cls: type[Struct]) -> SettingError:
    """msgspec says `Object contains unknown field `x` - at `$.a``."""
    what, _, at = message.partition(" - at ")
    what, path = what.replace("`", ""), at.strip("`") or "$"
    key = what.rpartition(" ")[2]
    if "unknown field" in what:
        return SettingError(f"{path}.{key}", f"unknown key; {_meant(cls, path, key)}")
    if "missing required field" in what:
        return SettingError(f"{path}.{key}", "must be given")
    if "enum value" in what:
        value = what.partition(" value ")[2].strip("'")
        return SettingError(path, f"unknown value `{value}`; {hint(value, _values(cls, path))}")
    if what == "Expected array, got object" and _struct_in(_type(cls, path)):
        return SettingError(path, f"write [[{path[2:]}]] instead of [{path[2:]}]")
    return SettingError(path, what)


def _meant(cls: type[Struct], path: str, key: str) -> str:
    """The hint for an unknown key: a slip for one of its table's, or at home in another one."""
    known = list(_types(_struct_in(_type(cls, path)) or cls))
    if difflib.get_close_matches(key, known, 1, SLIP):
        return hint(key, known)
    for table, type_ in _types(cls).items():
        inner = _struct_in(type_)
        if inner is not None and key in _types(inner):
            return f"did you mean `{table}.{key}`?"
    return hint(key, known)


def _values(cls: type[Struct], path: str) -> list[str]:
    """The words that the Literal at `path` allows, also where it may be None or is in a list."""
    found, inner = [], [_type(cls, path)]
    while inner:
        args = get_args(inner.pop())
        found += [arg for arg in args if isinstance(arg, str)]
        inner += [arg for arg in args if not isinstance(arg, str)]
    return found


def _type(cls: type[Struct], path: str) -> Any:
    """The annotation found by walking down `path` from `cls`."""
    found: Any = cls
    for name in re.findall(r"\.([^.\[]+)", path):
        found = _types(_struct_in(found) or cls)[name]
    return found


def _types(cls: type[Struct]) -> dict[str, Any]:
    """What each of its keys may be."""
    return {field.encode_name: field.type for field in msgspec.structs.fields(cls)}


def _struct_in(type_: Any) -> type[Struct] | None:
    """The Struct inside an annotation such as `list[BackendConfig] | None`."""
    if isinstance(type_, type) and issubclass(type_, Struct):
        return type_
    return next((found for arg in get_args(type_) if (found := _struct_in(arg))), None)
