"""Keys are kept as hashes and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from paceline.proxy.access.keys import BadKeys, Keys, make, read_keys

HASH = "a" * 64


def test_a_key_that_was_made_is_known() -> None:
    """Its line has the hash only; two keys are never the same."""
    key, line = make("acme")
    assert Keys([line]).holder(key.encode()) == "acme"
    assert key not in line
    assert make("acme")[0] != key
    assert len(key) > 40


def test_file_and_environment_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With comments and blank lines in the one, commas in the other."""
    (one, first), (two, second), (three, third) = make("a"), make("b"), make("b")
    file = tmp_path / "keys"
    file.write_text(f"# tenants\n\n{first}  # the first\n")
    monkeypatch.setenv("KEYS", f"{second},{third}")
    keys = read_keys(str(file), "KEYS")
    assert [keys.holder(key.encode()) for key in (one, two, three)] == ["a", "b", "b"]
    assert keys.holder(b"") is None


def test_none_at_all() -> None:
    """Without a file and a variable nobody has a key."""
    assert not read_keys("", "")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("acme sk-plain", "keys: line 1: expected `NAME sha256:` and 64 hexadecimal digits"),
        (f"\nacme sha256:{HASH[1:]}", "keys: line 2: expected"),
        (f"a b sha256:{HASH}", "keys: line 1: expected"),
        (f"a sha256:{HASH}\nb sha256:{HASH}", "keys: line 2: the same key as of `a`"),
        ("# nobody", "there is no key"),
    ],
)
def test_bad_lines_are_refused(tmp_path: Path, text: str, error: str) -> None:
    """By file and number: what stands there may be a key and is not shown."""
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(BadKeys, match=error) as caught:
        read_keys(str(file), "")
    assert "plain" not in str(caught.value)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    """A missing file, a missing variable."""
    with pytest.raises(BadKeys, match=r"none: No such file"):
        read_keys(str(tmp_path / "none"), "")
    with pytest.raises(BadKeys, match="the environment has no PACELINE_NONE"):
        read_keys("", "PACELINE_NONE")
    (tmp_path / "bytes").write_bytes(b"\xff")
    with pytest.raises(BadKeys, match="bytes: "):
        read_keys(str(tmp_path / "bytes"), "")
