"""Counts connections, in all and from each client address, and says when there are too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from ipaddress import IPv6Address, ip_address

from paceline.proxy.http.errors import ApiError


class Crowd:
    """Who is connected."""

    def __init__(
        self, most: int = 8_000, most_per_address: int = 0, balancers: Container[str] = ()
    ) -> None:
        self.most = most
        """Connections in all."""
        self.most_per_address = most_per_address
        """Connections from one address; 0 for any number."""
        self.balancers = balancers
        """Addresses of which that does not hold: many clients come from them."""
        self._count = 0
        self._addresses: Counter[str] = Counter()

    def adopt(self, other: Crowd) -> None:
        """Take over other limits, for those who come next."""
        self.most, self.most_per_address = other.most, other.most_per_address
        self.balancers = other.balancers

    def enter(self, remote: str) -> ApiError | None:
        """One more from this address: it is counted, unless there is a reason to refuse it."""
        remote = plain(remote)
        address = host_of(remote)
        if self._count >= self.most:
            message = "Too many connections are open."
            return ApiError(503, message, reason="connections", retry_after=1.0)
        most = self.most_per_address
        if most and self._addresses[address] >= most and remote not in self.balancers:
            message = "Too many connections are open from this address."
            return ApiError(429, message, reason="address_connections", retry_after=1.0)
        self._count += 1
        self._addresses[address] += 1
        return None

    def leave(self, remote: str) -> None:
        """One that was counted has ended."""
        address = host_of(plain(remote))
        self._count -= 1
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]


def plain(remote: str) -> str:
    """An IPv4 address that a socket for both families tells as IPv6, as it is usually written."""
    return remote.removeprefix("::ffff:") if "." in remote else remote


def host_of(remote: str) -> str:
    """What counts as one address: of IPv6 the first 64 bits, since any host may have all below."""
    if ":" not in remote:
        return remote
    number = ip_address(remote.partition("%")[0])
    assert isinstance(number, IPv6Address)
    return str(IPv6Address(int(number) >> 64 << 64))
