"""Tables become Structs, or an error that names the key."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from msgspec import Struct, field

from paceline.policies.decode import SettingError, decode, hint


class Tyre(Struct, forbid_unknown_fields=True):
    pressure: float


class Lock(Struct, forbid_unknown_fields=True):
    code: int


class Bike(Struct, forbid_unknown_fields=True):
    gears: int = 22
    spare: Tyre | None = None
    tyres: list[Tyre] = field(default_factory=list)
    brake: Literal["rim", "disc"] | None = None
    pressures: int = 2
    lock: Lock | None = None
    names: list[str] = field(default_factory=list)


def refuse(table: dict[str, Any]) -> str:
    with pytest.raises(SettingError) as caught:
        decode(table, Bike)
    return str(caught.value)


def test_decodes_what_is_right() -> None:
    """A sound table becomes the Struct, whole numbers for floats included."""
    assert decode({"gears": 1, "spare": {"pressure": 7}}, Bike) == Bike(1, Tyre(7.0))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"gears": "many"}, "$.gears: Expected int, got str"),
        ({"gaers": 1}, "$.gaers: unknown key; did you mean `gears`?"),
        (
            {"xyz": 1},
            "$.xyz: unknown key; known: gears, spare, tyres, brake, pressures, lock, names",
        ),
        ({"spare": {"presure": 7}}, "$.spare.presure: unknown key; did you mean `pressure`?"),
        (
            {"tyres": [{"pressure": 7}, {"p": 7, "pressure": 1}]},
            "$.tyres[1].p: unknown key; known: pressure",
        ),
        ({"tyres": [{}]}, "$.tyres[0].pressure: must be given"),
        ({"spare": {"gears": 1}}, "$.spare.gears: unknown key; known: pressure"),
        ({"tyres": [{"rim": 1}]}, "$.tyres[0].rim: unknown key; known: pressure"),
        ({"code": 1}, "$.code: unknown key; did you mean `lock.code`?"),
        ({"spare": {"code": 1}}, "$.spare.code: unknown key; did you mean `lock.code`?"),
        ({"pressure": 1}, "$.pressure: unknown key; did you mean `pressures`?"),
        ({"brake": "disk"}, "$.brake: unknown value `disk`; did you mean `disc`?"),
        ({"brake": "a foot"}, "$.brake: unknown value `a foot`; known: rim, disc"),
        ({"tyres": {"pressure": 7}}, "$.tyres: write [[tyres]] instead of [tyres]"),
        ({"names": {}}, "$.names: Expected array, got object"),
        ({"spare": 3}, "$.spare: Expected object | null, got int"),
    ],
)
def test_errors_name_the_key(table: dict[str, Any], message: str) -> None:
    """Each error tells the path and what was expected, in one line."""
    assert refuse(table) == message


def test_hint_when_nothing_is_known() -> None:
    """A Struct without fields says so instead of an empty list."""
    assert hint("x", []) == "there are none"
