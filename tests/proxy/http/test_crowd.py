"""How many may connect, in all and from one address."""

from __future__ import annotations

import pytest

from paceline.proxy.access.hosts import Hosts
from paceline.proxy.http.crowd import Crowd


def statuses(crowd: Crowd, *remotes: str) -> list[int]:
    """What each that comes is told; 0 for nothing."""
    refused = [crowd.enter(remote) for remote in remotes]
    return [0 if one is None else one.status for one in refused]


def test_one_address_leaves_room_for_others() -> None:
    """Its third connection is refused, another's first is not."""
    crowd = Crowd(10, 2)
    assert statuses(crowd, "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2") == [0, 0, 429, 0]
    crowd.leave("10.0.0.1")
    assert statuses(crowd, "10.0.0.1", "10.0.0.1") == [0, 429]


def test_who_is_refused_takes_no_place() -> None:
    """Knocking does not keep others out."""
    crowd = Crowd(3, 2)
    statuses(crowd, *["10.0.0.1"] * 10)
    assert statuses(crowd, "10.0.0.2", "10.0.0.3") == [0, 503]


@pytest.mark.parametrize(
    "remotes",
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2"),
        ("fe80::1%eth0", "fe80::2%eth0"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
    ],
    ids=["one /64", "link-local", "IPv4 on a socket for both"],
)
def test_one_host_has_one_count(remotes: tuple[str, str]) -> None:
    """However many addresses it has."""
    assert statuses(Crowd(10, 1), *remotes) == [0, 429]


def test_hosts_are_told_apart() -> None:
    """Two networks, two families, and IPv4 behind a socket for both."""
    remotes = ("2001:db8:0:1::1", "2001:db8:0:2::1", "::ffff:10.0.0.1", "::ffff:10.0.0.2", "::1")
    assert statuses(Crowd(10, 1), *remotes) == [0] * 5


@pytest.mark.parametrize("remote", ["10.0.0.9", "::ffff:10.0.0.9", "2001:db8::9"])
def test_load_balancers_connect_for_many(remote: str) -> None:
    """Only the limit on all holds for them."""
    crowd = Crowd(3, 1, Hosts(["10.0.0.0/24", "2001:db8::/32"]))
    assert statuses(crowd, *[remote] * 4) == [0, 0, 0, 503]


def test_zero_turns_it_off() -> None:
    """One address may have all."""
    assert statuses(Crowd(3, 0), *["10.0.0.1"] * 4) == [0, 0, 0, 503]
