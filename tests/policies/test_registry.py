"""Policies are found by name and by `module:Class`, with precise errors."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from paceline.policies import registry
from paceline.policies.decode import SettingError
from paceline.policies.registry import GROUP, PolicyError, find, installed, load
from paceline.scheduler.policy import Policy

HERE = __name__


class Mine(Policy):
    """A policy in a loose file."""

    choices: int = 2
    """How many to draw."""


NOT_A_POLICY = 3


def test_by_entry_point() -> None:
    """An installed policy answers to its name."""
    assert type(load("fcfs", {})).__name__ == "Fcfs"


def test_by_path_with_settings() -> None:
    """`module:Class` needs no installation; settings become its fields."""
    policy = load(f"{HERE}:Mine", {"choices": 3})
    assert isinstance(policy, Mine)
    assert policy.choices == 3


def test_settings_are_checked() -> None:
    """A mistyped or misspelt setting is refused by its path."""
    with pytest.raises(SettingError, match=r"^\$\.choces: unknown key; did you mean `choices`\?$"):
        load(f"{HERE}:Mine", {"choces": 3})
    with pytest.raises(SettingError, match=r"^\$\.choices: Expected int, got str$"):
        load(f"{HERE}:Mine", {"choices": "3"})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fcsf", "no policy `fcsf`; did you mean `fcfs`?"),
        (":Mine", "policy `:Mine`: `:Mine` is not `module:Class`"),
        (
            "no_such_module:X",
            "policy `no_such_module:X`: cannot import no_such_module: No module named"
            " 'no_such_module'",
        ),
        (f"{HERE}:Nobody", f"policy `{HERE}:Nobody`: {HERE} has no `Nobody`"),
        (
            f"{HERE}:NOT_A_POLICY",
            f"policy `{HERE}:NOT_A_POLICY`: {HERE}:NOT_A_POLICY is not a subclass of paceline's"
            " Policy",
        ),
    ],
)
def test_errors_say_what_is_wrong(name: str, message: str) -> None:
    """Every way to name no policy has its own one-line message."""
    with pytest.raises(PolicyError) as caught:
        find(name)
    assert str(caught.value) == message


def test_unknown_name_lists_what_is_installed() -> None:
    """With nothing close, the message lists the installed names."""
    with pytest.raises(PolicyError, match=r"no policy `zzz`; known: .*fcfs.*lpm"):
        find("zzz")


def test_installed_describes_each_policy() -> None:
    """The built-in policies are listed with their docs, sorted by name."""
    found = installed()
    assert [policy.name for policy in found] == sorted(policy.name for policy in found)
    fcfs = next(policy for policy in found if policy.name == "fcfs")
    assert fcfs.package.startswith("paceline ")
    assert fcfs.doc
    assert not fcfs.error


def test_a_broken_plugin_is_listed_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """One plugin that cannot be imported does not hide the others."""
    points = EntryPoints(
        [EntryPoint("bad", "nowhere:X", GROUP), EntryPoint("mine", f"{HERE}:Mine", GROUP)]
    )
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    bad, mine = installed()
    assert bad.error == "policy `bad`: cannot import nowhere: No module named 'nowhere'"
    assert [(setting.name, setting.default) for setting in mine.settings] == [("choices", "2")]
    assert mine.doc == "A policy in a loose file."
