"""Which hosts an admin may send requests to."""

from __future__ import annotations

import pytest

from paceline.proxy.access.hosts import BadHosts, Hosts

ALLOWED = Hosts(["Engine-1", "*.engines.example", "10.0.0.0/24", "fd00::/8"])


@pytest.mark.parametrize(
    "host", ["engine-1", "ENGINE-1.", "a.engines.example", "10.0.0.7", "fd00::1"]
)
def test_allowed(host: str) -> None:
    """Names in any case, names below one, addresses in a network."""
    assert host in ALLOWED


@pytest.mark.parametrize(
    "host",
    [
        "",
        "engine-10",
        "engines.example",
        "xengines.example",
        "10.0.1.7",
        "169.254.169.254",
        "0x0a000007",
        "167772167",
        "10.7",
        "::ffff:10.0.0.7",
        "localhost",
    ],
)
def test_everything_else_is_not(host: str) -> None:
    """Other ways to write an address are no way around the list."""
    assert host not in ALLOWED


def test_nothing_is_allowed_by_default() -> None:
    """An empty list is not a wildcard."""
    assert "127.0.0.1" not in Hosts([])


@pytest.mark.parametrize("one", ["", "*", "*.", "http://a", "a b", "0x7f.1", "10.7", "a..b"])
def test_what_is_no_host_is_refused(one: str) -> None:
    """When the configuration is read, not when it matters."""
    with pytest.raises(BadHosts):
        Hosts([one])
