"""Settings are read with the docstrings that stand under them."""

from __future__ import annotations

from msgspec import Struct, defstruct, field

from paceline.policies.describe import Setting, settings, summary


class Base(Struct):
    a: int = 1
    """The first,
    on two lines."""


class Child(Base, kw_only=True):
    """A child
    of two lines."""

    b: str
    c: list[int] = field(default_factory=list)
    """The last."""
    d: float | None = None

    def method(self) -> None:
        """Not a setting."""


def test_reads_name_type_default_and_docstring() -> None:
    """Inherited fields come first; a docstring belongs to the field above it."""
    assert settings(Child) == [
        Setting("a", "int", "1", "The first, on two lines."),
        Setting("b", "str", None, ""),
        Setting("c", "list[int]", "[]", "The last."),
        Setting("d", "float | None", "none", ""),
    ]


def test_summary_is_one_line() -> None:
    """Line breaks in a docstring are folded; no docstring is no error."""
    assert summary(Child) == "A child of two lines."
    assert summary(Base) == ""


def test_without_source() -> None:
    """A Struct made at run time still lists its fields."""
    made = defstruct("made", [("x", int, 3)])
    assert settings(made) == [Setting("x", "", "3", "")]
