"""The backends that the proxy knows."""

from __future__ import annotations

import pytest

from paceline.proxy.config import BackendConfig
from paceline.proxy.directory import BadBackend, Directory, Target


def directory(*urls: str) -> Directory:
    return Directory([BackendConfig(url=url) for url in urls])


@pytest.mark.parametrize(
    ("url", "target", "id"),
    [
        ("http://a:8000", Target("a", 8000), "a:8000"),
        ("http://a", Target("a", 80), "a:80"),
        ("https://a/", Target("a", 443, tls=True), "a:443"),
        ("http://a:1/x/y/", Target("a", 1, base_path="/x/y"), "a:1/x/y"),
        ("http://[::1]:9000", Target("::1", 9000), "[::1]:9000"),
    ],
)
def test_a_url_is_a_target(url: str, target: Target, id: str) -> None:
    """Its host, port and path are what the name is made of."""
    (entry,) = directory(url)
    assert (entry.target, entry.id) == (target, id)


def test_a_target_has_urls() -> None:
    """The engine's own paths come behind the base path."""
    assert Target("::1", 9, base_path="/x").url("/v1/models") == "http://[::1]:9/x/v1/models"
    assert Target("a", 443, tls=True).url("/health") == "https://a:443/health"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("localhost:8000", "must begin with http://"),
        ("ftp://a", "must begin with http://"),
        ("http://", "names no host"),
        ("http://a:99999", "is not a URL"),
        ("http://[::1", "is not a URL"),
        ("http://a?x=1", "query"),
        ("http://a#x", "fragment"),
        ("http://a b", "characters"),
    ],
)
def test_a_bad_url_is_refused_by_entry(url: str, words: str) -> None:
    """The message says which entry it is."""
    with pytest.raises(BadBackend, match=r"backends\[1\]") as caught:
        directory("http://fine", url)
    assert words in str(caught.value)


def test_credentials_are_refused_and_not_shown() -> None:
    """A password must not end up in a log."""
    with pytest.raises(BadBackend, match="credentials") as caught:
        directory("http://me:secret@a")
    assert "secret" not in str(caught.value)


def test_names_are_unique() -> None:
    """Two entries of one address need names."""
    with pytest.raises(BadBackend, match=r"backends\[1\]: another backend is called 'a:80'"):
        directory("http://a", "http://a:80/")
    named = Directory([BackendConfig(url="http://a", name="x"), BackendConfig(url="http://a")])
    assert [entry.id for entry in named] == ["x", "a:80"]
    assert named["x"].target == named["a:80"].target


def test_backends_take_turns() -> None:
    """Only those that are up and serve the model are picked."""
    known = directory("http://a", "http://b", "http://c")
    for entry, models in zip(known, (("m",), ("m", "n"), ("m",)), strict=True):
        entry.models, entry.up = models, True
    known["c:80"].up = False
    assert {known.pick("m"), known.pick("m")} == {"a:80", "b:80"}
    assert {known.pick("n"), known.pick("n")} == {"b:80"}
    assert {known.pick(), known.pick()} == {"a:80", "b:80"}
    assert known.pick("other") is None
    assert known.models() == ("m", "n")
