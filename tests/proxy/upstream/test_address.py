"""A backend's URL is taken apart and checked in one place."""

from __future__ import annotations

import pytest

from paceline.proxy.upstream.address import Address, BadAddress, parse


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://a:8000", Address(id="a:8000", host="a", port=8000)),
        ("http://a", Address(id="a:80", host="a", port=80)),
        ("https://a/", Address(id="a:443", host="a", port=443, tls=True)),
        ("http://a:1/x/y/", Address(id="a:1/x/y", host="a", port=1, base="/x/y")),
        ("http://[::1]:9000", Address(id="[::1]:9000", host="::1", port=9000)),
    ],
)
def test_a_url_is_an_address(url: str, address: Address) -> None:
    """Its host, port and path are what the name is made of."""
    assert parse(url) == address


def test_a_given_name_is_kept() -> None:
    """A configured name comes before the one made of the URL."""
    assert parse("http://a:8000", "mine") == Address(id="mine", host="a", port=8000)


def test_an_address_has_urls() -> None:
    """The engine's own paths come behind the base path."""
    assert parse("http://[::1]:9/x").url("/v1/models") == "http://[::1]:9/x/v1/models"
    assert parse("https://a").url("/health") == "https://a:443/health"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("localhost:8000", "Expected http://HOST:PORT"),
        ("ftp://a", "Expected http://HOST:PORT"),
        ("http://", "Expected http://HOST:PORT"),
        ("http://a:0", "Expected http://HOST:PORT"),
        ("http://a:99999", "Port out of range"),
        ("http://[::1", "Invalid IPv6 URL"),
        ("http://a?x=1", "query"),
        ("http://a#x", "fragment"),
        ("http://a b", "blanks"),
        ("http://a:1/v1", "without the /v1"),
    ],
)
def test_a_bad_url_is_refused(url: str, words: str) -> None:
    """The message says what is wrong with it."""
    with pytest.raises(BadAddress, match=words):
        parse(url)


def test_credentials_are_refused_and_not_shown() -> None:
    """A password must not end up in a log."""
    with pytest.raises(BadAddress, match="no user") as caught:
        parse("http://me:secret@a")
    assert "secret" not in str(caught.value)
